"""Images on disk: layer tars, docker-archives for an Engine, and OCI layouts with compressed layers."""

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

# The time of every file and image: what is made today is what was made yesterday.
MOMENT = 1_700_000_000
CREATED = "2023-11-14T22:13:20Z"
PIECE = 1024 * 1024
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Layer:
    """A layer: its tar, and the same compressed once `compress` has run."""

    tar: Path
    diff_id: str
    blob: Path = None
    digest: str = None
    size: int = None
    raw: int = None  # bytes before compression


@dataclass
class Image:
    """Layers with a configuration."""

    layers: list
    runtime: dict = field(default_factory=dict)

    @property
    def diff_ids(self) -> list:
        """What the pushed image's configuration must list."""
        return [layer.diff_id for layer in self.layers]

    def config(self) -> bytes:
        """The configuration, which names the layers before compression."""
        history = [{"created": CREATED, "created_by": f"layer {number}"} for number in range(len(self.layers))]
        return _json({
            "architecture": "amd64", "os": "linux", "created": CREATED, "config": self.runtime, "history": history,
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        })


def _json(value) -> bytes:
    """JSON without spaces, keys in order."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sha256(data: bytes) -> str:
    """A digest as registries write it."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Digesting:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path):
        self.path, self.file, self.hash, self.size = path, open(path, "wb"), hashlib.sha256(), 0

    def write(self, data) -> int:
        """Writes; `tarfile` wants the count."""
        self.hash.update(data)
        self.size += len(data)
        return self.file.write(data)

    def close(self) -> str:
        """Closes, and gives the digest."""
        self.file.close()
        return "sha256:" + self.hash.hexdigest()


def entry(name: str, size: int, mode: int = 0o644) -> tarfile.TarInfo:
    """A file of root's, as layers have it."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, MOMENT, mode
    return info


def write_layer(path: Path, files) -> Layer:
    """Writes the tar of a layer from pairs of a name and its content: bytes, or pieces with their total size."""
    out = Digesting(path)
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            if isinstance(content, bytes):
                tar.addfile(entry(name, len(content), 0o755 if name.startswith("bin/") else 0o644), io.BytesIO(content))
            else:
                size, pieces = content
                tar.addfile(entry(name, size), _Pieces(pieces))
    return Layer(tar=path, diff_id=out.close())


class _Pieces(io.RawIOBase):
    """Pieces as a file to read from."""

    def __init__(self, pieces):
        self.pieces, self.rest = iter(pieces), b""

    def read(self, size=-1):
        """The next bytes."""
        while len(self.rest) < size:
            piece = next(self.pieces, None)
            if piece is None:
                break
            self.rest += piece
        out, self.rest = self.rest[:size], self.rest[size:]
        return out


def compress(layers, level: int = 6):
    """Compresses layers as every builder does by default: gzip, level 6. Level 0 only wraps."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda layer: _compress(layer, level), layers))


def _compress(layer: Layer, level: int):
    """Writes `NAME.tar.gz` beside the tar."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    layer.blob = layer.tar.with_suffix(".tar.gz")
    out = Digesting(layer.blob)
    with open(layer.tar, "rb") as source:
        while piece := source.read(PIECE):
            out.write(packer.compress(piece))
    out.write(packer.flush())
    layer.digest, layer.size, layer.raw = out.close(), out.size, layer.tar.stat().st_size


def write_layout(folder: Path, image: Image, tag: str = "v1"):
    """An OCI layout folder whose blobs are hard links to the compressed layers."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for layer in image.layers:
        target = blobs / layer.digest.split(":")[1]
        if not target.exists():
            target.hardlink_to(layer.blob)

    def put(data: bytes, media_type: str) -> dict:
        digest = sha256(data)
        (blobs / digest.split(":")[1]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    layers = [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in image.layers]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": put(image.config(), CONFIG), "layers": layers}
    top = put(_json(manifest), MANIFEST)
    top["annotations"] = {"org.opencontainers.image.ref.name": tag}
    top["platform"] = {"architecture": "amd64", "os": "linux"}
    (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]}))
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def write_archive(out, image: Image, name: str):
    """A docker-archive for `docker load`, to an open file."""
    config = image.config()
    config_name = sha256(config).split(":")[1] + ".json"
    names = [f"{number}-{layer.diff_id[7:19]}.tar" for number, layer in enumerate(image.layers)]
    manifest = _json([{"Config": config_name, "RepoTags": [name], "Layers": names}])
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
        for file_name, data in ((config_name, config), ("manifest.json", manifest)):
            tar.addfile(entry(file_name, len(data)), io.BytesIO(data))
        for file_name, layer in zip(names, image.layers):
            if layer.tar.exists():
                with open(layer.tar, "rb") as source:
                    tar.addfile(entry(file_name, layer.tar.stat().st_size), source)
            else:  # a large one is kept compressed only
                with gzip.open(layer.blob, "rb") as source:
                    tar.addfile(entry(file_name, layer.raw), source)


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
