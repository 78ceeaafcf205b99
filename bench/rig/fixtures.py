"""The images that are pushed, made once and kept: their bytes depend on nothing but this file.

- `app`: four layers, 400 MiB: 340 of files that compress to a third, 60 of a file that does not compress.
- `next`: the same with another last layer, one for each round.
- `many`: 40 layers of 50 KiB. `big`: one layer of 2 GiB that does not compress. `faulty`: 32 MiB and three of 8.
- `wars`: web applications of 60 MiB.
"""

import json
import shutil
import zipfile
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

from . import content, oci, paths

MIB = content.MIB
# Counted up when the bytes change, so that old ones are made anew.
VERSION = "2"


def _scaled(mebibytes: float) -> int:
    """Bytes of so many MiB; a sixteenth of it where all is small."""
    return int(mebibytes * MIB / (16 if paths.small() else 1))


def _kept(name: str, make):
    """The folder of a fixture, made by `make(folder)` unless it is there. `make` gives what is to be remembered of it."""
    folder = paths.fixtures() / f"{name}-{VERSION}"
    facts = folder / "facts.json"
    if not facts.exists():
        print(f"bench: making the fixture {name}", flush=True)
        oci.fresh(folder)
        remembered = make(folder)
        facts.with_suffix(".part").write_text(json.dumps(remembered, default=str))
        facts.with_suffix(".part").rename(facts)
    return folder, json.loads(facts.read_text())


def _layers(name: str, make) -> list:
    """The layers of a fixture."""
    _, facts = _kept(name, lambda folder: [asdict(layer) for layer in make(folder)])
    for fact in facts:
        fact["tar"], fact["blob"] = Path(fact["tar"]), fact["blob"] and Path(fact["blob"])
    return [oci.Layer(**fact) for fact in facts]


def _files(prefix: str, seed: int, total: int):
    """Files of a layer: a few large ones and many small ones, in all so many bytes."""
    sizes = (1_900_000, 400_000, 90_000, 260_000, 30_000, 700_000, 12_000)
    number = 0
    while total > 0:
        size = min(sizes[number % len(sizes)], total)
        yield f"{prefix}/{number // 50:03}/file{number:05}", content.mixture(seed * 100_000 + number, size)
        total, number = total - size, number + 1


@lru_cache(maxsize=None)
def base_layers() -> list:
    """What `app` and the Tomcat base have in common: 340 MiB in three layers."""

    def make(folder: Path):
        layers = []
        for number, mebibytes in enumerate((150, 100, 90)):
            files = _files(f"usr/lib/part{number}", number + 1, _scaled(mebibytes))
            layers.append(oci.write_layer(folder / f"{number}.tar", files))
        oci.compress(layers)
        return layers

    return _layers("base", make)


def top_layer(seed: int) -> oci.Layer:
    """A layer of 60 MiB that does not compress."""

    def make(folder: Path):
        layer = oci.write_layer(folder / "top.tar", [("srv/app/application.bin", content.noise(seed, _scaled(60)))])
        oci.compress([layer], 1)
        return [layer]

    return _layers(f"top-{seed}", make)[0]


def app() -> oci.Image:
    """The image of most rows."""
    return oci.Image([*base_layers(), top_layer(0)], {"Cmd": ["/srv/app/application.bin"]})


def following(number: int) -> oci.Image:
    """`app` with another last layer."""
    return oci.Image([*base_layers(), top_layer(1000 + number)], {"Cmd": ["/srv/app/application.bin"]})


def base() -> oci.Image:
    """The base of the rows that build: 340 MiB under Tomcat's names."""
    runtime = {"Cmd": ["catalina.sh", "run"], "WorkingDir": "/usr/local/tomcat", "Env": ["PATH=/usr/local/tomcat/bin:/bin"]}
    return oci.Image(base_layers(), runtime)


def many() -> oci.Image:
    """40 layers of 50 KiB."""

    def make(folder: Path):
        layers = [
            oci.write_layer(folder / f"{number}.tar", [(f"srv/{number}", content.noise(5000 + number, 50 * 1024))])
            for number in range(40)
        ]
        oci.compress(layers)
        return layers

    return oci.Image(_layers("many", make))


def big() -> oci.Image:
    """One layer of 2 GiB."""

    def make(folder: Path):
        size = _scaled(2048)
        layer = oci.write_layer(folder / "big.tar", [("srv/big", (size, content.long_noise(6000, size)))])
        oci.compress([layer], 0)
        layer.tar.unlink()
        return [layer]

    return oci.Image(_layers("big-1", make))


def faulty() -> oci.Image:
    """What is pushed through faults: a layer of 32 MiB and three of 8, none of which compresses."""

    def make(folder: Path):
        layers = [
            oci.write_layer(folder / f"{number}.tar", [(f"srv/{number}", content.noise(7000 + number, mebibytes * MIB))])
            for number, mebibytes in enumerate((32, 8, 8, 8))
        ]
        oci.compress(layers, 1)
        return layers

    return oci.Image(_layers("faulty", make))


def layout(name: str, image: oci.Image) -> Path:
    """The image as an OCI layout."""
    return _kept(f"layout-{name}", lambda folder: oci.write_layout(oci.fresh(folder / "oci"), image))[0] / "oci"


def write_war(path: Path, libraries: int, classes: int):
    """A web application of 60 MiB; two with the same number of `libraries` differ in one class of 10 KiB."""
    stamp = (2023, 11, 14, 22, 13, 20)
    jar = _scaled(58) // 20

    def add(war, name: str, data: bytes, method=zipfile.ZIP_DEFLATED):
        war.writestr(zipfile.ZipInfo(name, stamp), data, method)

    with zipfile.ZipFile(path, "w", compresslevel=1) as war:
        add(war, "META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\r\n\r\n")
        add(war, "WEB-INF/web.xml", b'<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"/>\n')
        for number in range(40):
            add(war, f"static/page{number:02}.html", content.mixture(9000 + number, 30_000))
        for number in range(120):
            seed = classes if number == 7 else 0
            add(war, f"WEB-INF/classes/com/example/Class{number:03}.class", content.mixture(8000 + number + 1000 * seed, 10_000))
        for number in range(20):
            name = f"WEB-INF/lib/library{number:02}-1.0.jar"
            add(war, name, content.noise(libraries * 100 + number, jar), zipfile.ZIP_STORED)


def war(libraries: int, classes: int = 0) -> Path:
    """A web application, kept."""
    folder, _ = _kept(f"war-{libraries}-{classes}", lambda folder: write_war(folder / "app.war", libraries, classes))
    return folder / "app.war"


def forget():
    """Removes all fixtures of this size."""
    shutil.rmtree(paths.fixtures(), ignore_errors=True)


def write_probe_war(path: Path):
    """The smallest web application."""
    with zipfile.ZipFile(path, "w") as war:
        war.writestr("WEB-INF/web.xml", "<web-app/>\n")
        war.writestr("WEB-INF/classes/com/example/Probe.class", "probe")


def noise(seed: int, mebibytes: float) -> bytes:
    """So many MiB that do not compress."""
    return content.noise(seed, _scaled(mebibytes))
