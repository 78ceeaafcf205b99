"""The stage: namespaces in which nothing else happens.

Registries, engines and clients run in one network namespace that has a loopback interface and nothing else. So every
byte on it belongs to the push that is measured, the kernel can shape it like a real link, and when the first process
ends, everything ends with it: no mounts, links or processes are left on the machine.
"""

import os
import shutil
import subprocess
import sys

from . import oci, paths

# Set in the stage's own process.
MARK = "BENCH_ON_STAGE"


def enter(arguments: list) -> int:
    """Runs this program again on a stage of its own; gives its exit code."""
    if os.geteuid() != 0:
        print("bench: needs root: namespaces and a Docker Engine are made for it", file=sys.stderr)
        return 2
    stage = ["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.call([*stage, sys.executable, *arguments], env=os.environ | {MARK: "1"})


def is_on() -> bool:
    """Whether this process runs on the stage."""
    return bool(os.environ.get(MARK))


def _mount(*words):
    """Mounts."""
    subprocess.run(["mount", *(str(word) for word in words)], check=True)


def build():
    """Prepares the stage: empty folders where tools keep their state, registries' storage in memory, loopback up."""
    oci.fresh(paths.WORK)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in ("/var/lib/containers", "/var/tmp"):
        os.makedirs(folder, exist_ok=True)
        private = oci.fresh(paths.WORK / folder.strip("/").replace("/", "-"))
        _mount("--bind", private, folder)
    storage = oci.fresh(paths.WORK / "registries")
    _mount("-t", "tmpfs", "-o", "mode=755,size=70%", "tmpfs", storage)


def shape(rate: str = ""):
    """Lets loopback carry so much, such as `1gbit`; nothing takes the limit away."""
    tc = shutil.which("tc") or "/usr/sbin/tc"
    if rate:
        words = [tc, "qdisc", "replace", "dev", "lo", "root", "tbf", "rate", rate, "burst", "256kb", "limit", "64mb"]
        subprocess.run(words, check=True)
    else:
        subprocess.run([tc, "qdisc", "del", "dev", "lo", "root"], check=False, stderr=subprocess.DEVNULL)
