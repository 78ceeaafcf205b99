#!/usr/bin/env python3
"""Seaway beside its peers: `bench.py push` or `bench.py deploy` measures, `bench.py table` writes the README's tables anew.

RUNS=N rounds (3), ROWS=S1,S4 these rows only, RESUME=1 the rows that a broken run left, SMALL=1 small fixtures to try the
rig, SEAWAY=PATH the binary, BENCH_CACHE=FOLDER where programs and fixtures are kept (~/.cache/seaway-bench).
"""

import sys

from rig import deploy, push, table


def main() -> int:
    """Does what the first word says."""
    word = sys.argv[1] if len(sys.argv) == 2 else ""
    if word == "push":
        return push.main()
    if word == "deploy":
        return deploy.main()
    if word == "table":
        table.write_all()
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
