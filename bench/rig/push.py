"""The push bench: runs the rows that are wanted and keeps what they measured."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

from . import daemons, faulty, install, measure, paths, rows, stage, table
from .measure import Failure
from .proxy import Loop
from .registry import Registry

STATE = "push-small.json" if paths.small() else "push.json"
MIB = 1024 * 1024
S9 = {
    "id": "S9", "title": "pushes through faults: a cut, 503, 429 with and without Retry-After, tokens that die or expire, a commit of 60 s",
    "target": {"kind": "faults", "again": 33 * MIB, "text": "all, one blob sent again at most"},
}
S10 = {
    "id": "S10", "title": "in S1: MiB of the client's peak memory and MiB that it writes to disk",
    "target": {"kind": "memory", "memory": 256 * MIB, "written": 0, "text": "≤ 256 and 0"},
}


def say(text: str):
    """A line of news, with the time that has passed."""
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", flush=True)


BEGAN = time.monotonic()


def binary() -> Path:
    """What is measured: $SEAWAY, else the release of `make release`, else the debug build."""
    for path in (os.environ.get("SEAWAY"), paths.REPOSITORY / "dist" / "seaway", paths.REPOSITORY / "target" / "debug" / "seaway"):
        if path and os.access(path, os.X_OK):
            return Path(path).resolve()
    raise SystemExit("bench: no Seaway: `make release`, or name one with SEAWAY")


def describe(program: Path) -> dict:
    """The binary: what it calls itself, its size and its hash."""
    version = subprocess.run([program, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    content = program.read_bytes()
    kind = "debug" if "debug" in program.parts else "release"
    return {"version": version.removeprefix("seaway "), "kind": kind, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def machine() -> dict:
    """The machine."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        processor = next((line.split(": ", 1)[1].strip() for line in file if line.startswith("model name")), "unknown processor")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cores": os.cpu_count(), "processor": processor, "kernel": os.uname().release, "memory_gib": round(memory / 1024**3)}


def new_state(program: Path) -> dict:
    """A run without rows; with RESUME or ROWS the last one goes on, if binary and machine are the same."""
    state = {
        "at": time.strftime("%d %B %Y %H:%M UTC", time.gmtime()), "machine": machine(), "seaway": describe(program),
        "versions": install.versions(), "runs": int(os.environ.get("RUNS", "3")), "small": paths.small(), "rows": {},
    }
    path = paths.CACHE / STATE
    if (wanted() or os.environ.get("RESUME")) and path.exists():
        before = json.loads(path.read_text())
        if all(before[key] == state[key] for key in ("machine", "seaway")):
            return before
        say("the last run was of another binary or machine: starting anew")
    return state


def wanted() -> list:
    """The rows that ROWS names; none: all."""
    return [name.strip() for name in os.environ.get("ROWS", "").split(",") if name.strip()]


def save(state: dict):
    """Keeps what there is so far, rows in their order."""
    order = [row.id for row in rows.ROWS] + ["S9", "S10"]
    state["rows"] = {name: state["rows"][name] for name in order if name in state["rows"]}
    path = paths.CACHE / STATE
    path.with_suffix(".part").write_text(json.dumps(state, indent=1) + "\n")
    path.with_suffix(".part").rename(path)


def settle(rig, row, entries: list):
    """Lets each tool push once, unmeasured, so that the registry has what the row presupposes."""
    for found in entries:
        try:
            found.before(0)
            output = measure.run(found.command(0), found.tool)
            rows.check(rig, found, rig.registries[row.registry], 0, output)
        except Failure as problem:
            found.failed = str(problem)


def one(rig, row, found, number: int) -> dict:
    """One measured push."""
    registry = rig.registries[row.registry]
    found.before(number)
    figures = measure.measure(found.command(number), rig.daemons, registry)
    output = measure.OUTPUT.read_text(errors="replace")
    figures["compressed"] = rows.check(rig, found, registry, number, output)
    return figures


def rounds(row, runs: int) -> int:
    """How many rounds a row takes."""
    return row.quick * runs + 1 if row.quick else runs


def run_row(rig, row, runs: int) -> dict:
    """All rounds of a row: every tool once a round, each round begun by another one."""
    result = {"id": row.id, "title": row.title, "target": row.target, "entries": []}
    entries = row.prepare(rig)
    for found in entries:
        found.failed, found.runs = "", []
    if row.settle:
        settle(rig, row, entries)
    for number in range(1, rounds(row, runs) + 1):
        turn = number % len(entries)
        for found in entries[turn:] + entries[:turn]:
            if found.failed or found.most and number > found.most:
                continue
            try:
                figures = one(rig, row, found, number)
                found.runs.append(figures)
                say(f"{row.id} {found.tool}: {table.seconds(figures['seconds'])} s, {table.mebibytes(figures['compressed'])} MiB, "
                    f"{figures['requests']} requests, {figures['cpu']:.2f} CPU s")
            except Failure as problem:
                found.failed = str(problem)
    for found in entries:
        if found.failed:
            say(f"{row.id} {found.tool}: failed: {found.failed}")
        if found.note:
            say(f"{row.id} {found.tool}: {found.note}")
        result["entries"].append({"tool": found.tool, "failed": found.failed, "note": found.note, "runs": found.runs})
    return result


def carry_out(rig, state: dict):
    """The rows that are wanted and not there yet."""
    chosen = wanted()
    resumed = bool(os.environ.get("RESUME"))
    for row in rows.ROWS:
        known = state["rows"].get(row.id)
        if chosen and row.id not in chosen or resumed and known and not known.get("failed"):
            continue
        began = time.monotonic()
        rig.rounds = rounds(row, state["runs"])
        try:
            result = run_row(rig, row, state["runs"])
        except Exception as problem:  # a row that the rig cannot run must not end the others
            if not isinstance(problem, Failure):
                traceback.print_exc()
            say(f"{row.id}: failed: {problem}")
            result = {"id": row.id, "title": row.title, "target": row.target, "entries": [], "failed": str(problem)}
        finally:
            row.after(rig)
        result["took"] = round(time.monotonic() - began, 1)
        say(f"{row.id} took {result['took']:.0f} s in all")
        state["rows"][row.id] = result
        save(state)
    known = state["rows"].get("S9")
    if "S9" in chosen or not chosen and not (resumed and known and not known.get("failed")):
        state["rows"]["S9"] = run_faults(rig)
    if not chosen or "S10" in chosen or "S1" in chosen:
        state["rows"]["S10"] = dict(S10)
    save(state)


def run_faults(rig) -> dict:
    """S9."""
    began, result = time.monotonic(), dict(S9)
    try:
        result["attempts"] = faulty.measure(rig, say)
    except Exception as problem:
        traceback.print_exc()
        result["failed"] = str(problem)
    result["took"] = round(time.monotonic() - began, 1)
    return result


def on_stage() -> int:
    """Builds the stage, runs, prints the table; of a whole run it keeps JSON and README."""
    program = binary()
    state = new_state(program)
    stage.build()
    workers = daemons.start_docker() + daemons.start_buildkit()
    old, current = "/usr/bin/docker-registry", str(paths.PROGRAMS / "registry")
    registries = {
        "main": Registry("main", old, rows.MAIN), "hub": Registry("hub", old, rows.HUB), "v3": Registry("v3", current, rows.V3),
    }
    rig = rows.Rig(program, registries, workers, Loop())
    say(f"{program}, {state['runs']} runs, {len(workers)} daemons, {len(registries)} registries")
    carry_out(rig, state)
    print(table.push_table(state))
    missing = [row.id for row in rows.ROWS if row.id not in state["rows"]]
    if paths.small() or missing:
        print(f"\nbench: README and {paths.RESULTS} stay as they are: " + ("SMALL is for trying the rig" if paths.small() else f"{', '.join(missing)} did not run"))
        return 0
    paths.RESULTS.mkdir(exist_ok=True)
    (paths.RESULTS / "push.json").write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n")
    table.write_all()
    return 0


def main() -> int:
    """On the machine: installs the peers, then goes on stage."""
    if stage.is_on():
        return on_stage()
    binary()
    install.everything()
    code = stage.enter(sys.argv)
    for folder in filter(Path.is_dir, paths.WORK.glob("*")):  # gigabytes of engines and contexts; logs stay
        shutil.rmtree(folder, ignore_errors=True)
    return code
