"""Where the bench reads and writes."""

import os
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
REPOSITORY = BENCH.parent

# Everything that the bench keeps between runs: programs, fixtures, what a run has measured so far.
CACHE = Path(os.environ.get("BENCH_CACHE") or Path.home() / ".cache" / "seaway-bench")
PROGRAMS = CACHE / "programs"
# A run's own files: engines, homes, projects. Emptied when a run starts.
WORK = CACHE / "work"

README = BENCH / "README.md"
RESULTS = BENCH / "results"


def small() -> bool:
    """Whether fixtures are a sixteenth of their size: to try the rig, never for figures."""
    return os.environ.get("SMALL", "") not in ("", "0")


def fixtures() -> Path:
    """The folder of the fixtures of this size."""
    return CACHE / ("fixtures-small" if small() else "fixtures")
