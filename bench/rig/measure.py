"""What a push costs: time, processor, memory, bytes written and sent, requests."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import paths

TICKS = os.sysconf("SC_CLK_TCK")
# In memory: what a client says must not count as what it writes to disk.
REPORT, OUTPUT = Path("/run/report.json"), Path("/run/output.log")


class Failure(Exception):
    """A push that did not do what it was measured for."""


@dataclass
class Command:
    """What is run: its words, variables over the stage's, and how long it may take in seconds."""

    words: list
    env: dict = field(default_factory=dict)
    patience: float = 300
    folder: Path = None

    @staticmethod
    def shell(script: str, **rest) -> "Command":
        """Several commands, one after the other."""
        return Command(["/bin/sh", "-ec", script], **rest)

    def without(self, folder: Path) -> "Command":
        """The same, to which a folder of this machine looks empty."""
        script = f"mount -t tmpfs none {folder}\nexec \"$@\""
        words = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-ec", script, "sh", *self.words]
        return Command(words, self.env, self.patience, self.folder)


def base_environment() -> dict:
    """The variables of every command: nothing of whoever runs the bench."""
    home = paths.WORK / "home"
    temporary = paths.WORK / "tmp"
    for folder in (home, temporary):
        folder.mkdir(parents=True, exist_ok=True)
    logins = home / ".docker" / "config.json"
    if not logins.exists():
        logins.parent.mkdir(exist_ok=True)
        logins.write_text("{}")  # buildah wants the file to be there
    return {
        "PATH": f"{paths.PROGRAMS}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(home), "LANG": "C.UTF-8",
        "TMPDIR": str(temporary), "DOCKER_CONFIG": str(home / ".docker"), "DOCKER_HOST": "unix:///run/docker.sock",
    }


def run(command: Command, what: str = "") -> str:
    """Runs something that is not measured and gives its output; a failure carries its last words."""
    env = base_environment() | command.env
    try:
        done = subprocess.run(
            [str(word) for word in command.words], env=env, cwd=command.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=command.patience, check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{what or command.words[0]}: no end within {command.patience:.0f} s") from late
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise Failure(f"{what or command.words[0]}: exit code {done.returncode}: {last_words(output)}")
    return output


def last_words(output: str) -> str:
    """What an output says of a failure, in one line: its first line with an error, and its end."""
    lines = [line.strip() for line in output.splitlines() if len(line.strip()) > 8]
    first = [line for line in lines[:-3] if "error" in line.lower()][:1]
    return " / ".join(first + lines[-3:])[:700]


@dataclass
class Daemon:
    """A daemon that works for clients: its process and what it had used up at a moment."""

    name: str
    process: int
    before: dict = field(default_factory=dict)

    def usage(self) -> dict:
        """Seconds of processor and bytes written to disk so far, memory now and at most since `mark`; in bytes."""
        folder = f"/proc/{self.process}"
        with open(f"{folder}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        with open(f"{folder}/io", encoding="ascii") as file:
            written = next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))
        with open(f"{folder}/status", encoding="ascii") as file:
            sizes = {line.split(":")[0]: line.split()[1] for line in file if line.startswith(("VmHWM", "VmRSS"))}
        return {
            "cpu": sum(int(value) for value in fields[11:15]) / TICKS, "written": written,
            "rss": int(sizes["VmRSS"]) * 1024, "peak": int(sizes["VmHWM"]) * 1024,
        }

    def mark(self):
        """Begins a measurement: the kernel forgets the peak of the daemon's memory."""
        with open(f"/proc/{self.process}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        self.before = self.usage()

    def since(self) -> dict:
        """What it has used since `mark`; memory as the growth over what it held then."""
        now = self.usage()
        return {
            "cpu": now["cpu"] - self.before["cpu"], "written": now["written"] - self.before["written"],
            "rss": max(0, now["peak"] - self.before["rss"]),
        }


def loopback_bytes() -> int:
    """Bytes that have crossed the stage's loopback interface: nothing but clients and registries uses it."""
    with open("/proc/net/dev", encoding="ascii") as file:
        return next(int(line.split(":")[1].split()[8]) for line in file if line.strip().startswith("lo:"))


def measure(command: Command, daemons: list, registry) -> dict:
    """Runs a command and gives what it cost. Memory and disk of the client and of the daemons are kept apart; the
    processor's seconds are those of both."""
    report, log = REPORT, OUTPUT
    report.unlink(missing_ok=True)
    log.write_text("")
    registry.mark()
    for daemon in daemons:
        daemon.mark()
    bytes_before = loopback_bytes()
    timed = str(Path(__file__).with_name("timed.py"))
    words = [sys.executable, "-I", "-S", timed, str(report), str(log), *(str(word) for word in command.words)]
    env = base_environment() | command.env
    with subprocess.Popen(words, env=env, cwd=command.folder, start_new_session=True) as process:
        try:
            process.wait(command.patience)
        except subprocess.TimeoutExpired as late:
            os.killpg(process.pid, signal.SIGKILL)
            raise Failure(f"no end within {command.patience:.0f} s: {last_words(log.read_text())}") from late
    if not report.exists():
        raise Failure(f"it could not be started: {command.words[0]}")
    client = json.loads(report.read_text())
    if client["status"] != 0:
        raise Failure(f"exit code {client['status']}: {last_words(log.read_text(errors='replace'))}")
    wire, helpers, requests = loopback_bytes() - bytes_before, [daemon.since() for daemon in daemons], registry.requests()
    return {
        "seconds": round(client["seconds"], 4),
        "cpu": round(client["cpu"] + sum(helper["cpu"] for helper in helpers), 3),
        "client_memory": client["rss"], "daemon_memory": sum(helper["rss"] for helper in helpers),
        "client_written": client["written"], "daemon_written": sum(helper["written"] for helper in helpers),
        "wire": wire, **requests,
    }
