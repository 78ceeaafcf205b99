"""Runs one command and writes what it cost, as JSON: `timed.py REPORT LOG COMMAND…`.

A process of its own, and a small one: what `wait4` says of a command's peak memory cannot be less than that of the
process that started it (Linux carries the peak over `exec`), and the rig itself grows.
"""

import json
import os
import sys
import time


def io_of(process: int) -> dict:
    """Bytes that a process that has ended, and those of its children that it waited for, wrote to block devices."""
    try:
        with open(f"/proc/{process}/io", encoding="ascii") as file:
            return {key: int(value) for key, value in (line.split(": ") for line in file)}
    except OSError:
        return {}


def main():
    """Starts the command with its output in LOG, waits, and writes the report."""
    report, log, *command = sys.argv[1:]
    out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    started = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    ended = time.monotonic()
    written = io_of(process).get("write_bytes", 0)
    _, status, usage = os.wait4(process, 0)
    values = {
        "seconds": ended - started, "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss * 1024,
        "written": written, "status": os.waitstatus_to_exitcode(status),
    }
    with open(report, "w", encoding="ascii") as file:
        json.dump(values, file)


main()
