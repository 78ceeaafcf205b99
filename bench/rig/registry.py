"""Registries on the stage: Debian's docker-registry 2.8 and distribution v3, with their storage in memory.

What they were asked is read from their access logs, the same way for every client.
"""

import http.client
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

from . import oci, paths
from .measure import Failure

CONFIGURATION = """version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http: {{net: {net}, addr: "{address}", secret: of the bench}}
"""
LINE = re.compile(r'"([A-Z]+) (\S+) HTTP/1\.\d" (\d+) .*"([^"]*)"$')
ACCEPT = ", ".join((
    oci.MANIFEST, oci.INDEX, "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
))
OWN = "bench"


class Registry:
    """A registry process at `127.0.0.1:PORT`; with `socket` a second process over the same storage, for proxies."""

    def __init__(self, name: str, program: str, port: int):
        self.name, self.host, self.port = name, f"127.0.0.1:{port}", port
        self.storage = paths.WORK / "registries" / name
        self.program, self.processes, self.offset = program, [], 0
        self.log = paths.WORK / f"{name}.access.log"
        self._start("tcp", self.host)
        self._await(lambda: self.get("/v2/")[0] == 200)

    def _start(self, net: str, address: str):
        """Starts a process; access lines go to its standard output."""
        self.storage.mkdir(parents=True, exist_ok=True)
        configuration = paths.WORK / f"{self.name}-{net}.yml"
        configuration.write_text(CONFIGURATION.format(storage=self.storage, net=net, address=address))
        with open(self.log, "ab") as log, open(paths.WORK / f"{self.name}.log", "ab") as errors:
            env = {"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"}
            self.processes.append(subprocess.Popen([self.program, "serve", str(configuration)], stdout=log, stderr=errors, env=env))

    def _await(self, serves):
        """Waits until it serves."""
        for _ in range(200):
            try:
                if serves():
                    return
            except OSError:
                pass
            if self.processes[-1].poll() is not None:
                break
            time.sleep(0.05)
        raise Failure(f"{self.name} does not serve: {(paths.WORK / f'{self.name}.log').read_text()[-400:]}")

    def socket(self) -> Path:
        """A second process over the same storage at a socket: what comes through a proxy crosses loopback once."""
        path = paths.WORK / f"{self.name}.sock"
        if not path.exists():
            self._start("unix", str(path))
            self._await(path.exists)
        return path

    def wipe(self):
        """Empties it. It may serve meanwhile: nothing of the storage is cached."""
        shutil.rmtree(self.storage / "docker", ignore_errors=True)

    def get(self, path: str, method: str = "GET"):
        """Asks it: status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers={"Accept": ACCEPT, "User-Agent": OWN})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def mark(self):
        """Begins to count requests."""
        self.requests()
        self.offset = self.log.stat().st_size

    def requests(self) -> dict:
        """How many requests since `mark`, and how many of them for blobs. A line is written when its answer is done:
        a moment after the client has it."""
        size = -1
        while size != (size := self.log.stat().st_size):
            time.sleep(0.02)
        with open(self.log, "rb") as file:
            file.seek(self.offset)
            lines = [LINE.search(line) for line in file.read().decode(errors="replace").splitlines()]
        asked = [line.group(1, 2) for line in lines if line and line.group(4) != OWN]
        return {"requests": len(asked), "blob_requests": sum("/blobs/" in path for _, path in asked)}

    def manifest(self, repository: str, reference: str) -> dict:
        """A manifest by tag or digest; of an index its first."""
        status, _, body = self.get(f"/v2/{repository}/manifests/{reference}")
        if status != 200:
            raise Failure(f"the registry has no {repository}:{reference} ({status})")
        manifest = json.loads(body)
        if "manifests" in manifest:
            return self.manifest(repository, manifest["manifests"][0]["digest"])
        return manifest

    def verify(self, repository: str, reference: str, starts_with: list, complete: bool) -> int:
        """Sees that an image is there with these layers (or begins with them), and gives its compressed bytes."""
        manifest = self.manifest(repository, reference)
        for layer in manifest["layers"]:
            status, headers, _ = self.get(f"/v2/{repository}/blobs/{layer['digest']}", "HEAD")
            if status != 200 or int(headers["Content-Length"]) != layer["size"]:
                raise Failure(f"{repository} lacks the layer {layer['digest']} ({status})")
        _, _, body = self.get(f"/v2/{repository}/blobs/{manifest['config']['digest']}")
        layers = json.loads(body)["rootfs"]["diff_ids"]
        if layers[: len(starts_with)] != starts_with or complete and len(layers) != len(starts_with):
            raise Failure(f"{repository}:{reference} is not the image: its layers are {layers}")
        return sum(layer["size"] for layer in manifest["layers"])
