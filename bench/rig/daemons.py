"""The daemons that some tools let work for them: Debian's dockerd with its containerd, and buildkitd."""

import json
import os
import socket
import subprocess
import time

from . import oci, paths
from .measure import Command, Daemon, Failure, run

DOCKER_SOCKET = "/run/docker.sock"
BUILDKIT_SOCKET = "/run/buildkit.sock"
CONTAINERD_SOCKET = "/run/docker/containerd/containerd.sock"
DOCKER_FOLDER = paths.WORK / "docker"


def _spawn(name: str, words: list) -> int:
    """Starts a daemon; its log is in the work folder."""
    with open(paths.WORK / f"{name}.log", "ab") as log:
        env = {"PATH": f"{paths.PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(oci.fresh(paths.WORK / f"{name}-home"))}
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env).pid


def _await(name: str, path: str):
    """Waits until somebody listens on a socket."""
    for _ in range(400):
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
                return
            except OSError:
                time.sleep(0.05)
    raise Failure(f"{name} does not serve: {(paths.WORK / f'{name}.log').read_text()[-400:]}")


def _child(parent: int, name: str) -> int:
    """The process of this name that another one started."""
    for folder in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{folder}/stat", encoding="ascii") as file:
                head, tail = file.read().rsplit(")", 1)
        except OSError:
            continue
        if head.endswith("(" + name) and int(tail.split()[1]) == parent:
            return int(folder)
    raise Failure(f"{name} does not run")


def start_docker() -> list:
    """Starts dockerd: overlay2, and no firewall rules, which would slow every packet of the stage."""
    configuration = paths.WORK / "daemon.json"
    configuration.write_text(json.dumps({
        "hosts": [f"unix://{DOCKER_SOCKET}"], "data-root": str(oci.fresh(DOCKER_FOLDER)), "exec-root": "/run/docker",
        "pidfile": "/run/docker.pid", "deprecated-key-path": str(paths.WORK / "docker-key.json"), "storage-driver": "overlay2",
        "bip": "172.31.255.1/24", "iptables": False, "ip6tables": False, "ip-forward": False, "log-level": "warn",
        "exec-opts": ["native.cgroupdriver=cgroupfs"], "features": {"buildkit": True},
    }))
    process = _spawn("dockerd", ["/usr/sbin/dockerd", "--config-file", str(configuration)])
    _await("dockerd", DOCKER_SOCKET)
    run(Command(["/usr/bin/docker", "version"]))
    return [Daemon("dockerd", process), Daemon("containerd", _child(process, "containerd"))]


def start_buildkit() -> list:
    """Starts buildkitd, with runc for the steps of a Dockerfile."""
    configuration = paths.WORK / "buildkitd.toml"
    registries = "".join(f'[registry."127.0.0.1:{port}"]\n  http = true\n' for port in range(5000, 5003))
    configuration.write_text(f"""root = "{oci.fresh(paths.WORK / 'buildkit')}"
{registries}[grpc]
  address = ["unix://{BUILDKIT_SOCKET}"]
[worker.oci]
  enabled = true
  networkMode = "host"
  snapshotter = "overlayfs"
[worker.containerd]
  enabled = false
""")
    process = _spawn("buildkitd", [str(paths.PROGRAMS / "buildkitd"), "--config", str(configuration)])
    _await("buildkitd", BUILDKIT_SOCKET)
    return [Daemon("buildkitd", process)]


def load(image: oci.Image, name: str):
    """Puts an image into the Engine, as a build on this machine would: without any memory of a registry."""
    words = ["/usr/bin/docker", "load", "--quiet"]
    env = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": f"unix://{DOCKER_SOCKET}"}
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env) as process:
        try:
            oci.write_archive(process.stdin, image, name)
            process.stdin.close()
        except BrokenPipeError:
            pass  # what it complains about follows
        problem = process.stderr.read().decode()
        if process.wait() != 0:
            raise Failure(f"docker load: {problem}")
