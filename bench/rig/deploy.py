"""The other rows: how soon `seaway` speaks, `check`, and `up` with nothing to do beside the same work by hand.

They run on the machine itself, against the sandbox, with `examples/todo` deployed by `make demo` before.
"""

import json
import os
import subprocess
import time
from pathlib import Path

from . import install, paths, push, table
from .measure import last_words

EXAMPLE = "examples/todo"
ROWS = {
    "start": ("start to first line (`--version`)", {"milliseconds": 20, "text": "≤ 20 ms"}),
    "check": ("`check` on examples/todo", {"milliseconds": 30, "text": "≤ 30 ms"}),
    "E11": (
        "nothing changed: `up` on examples/todo with its smoke test; by hand without pushes and smoke test",
        {"milliseconds": 1500, "ratio": 0.1, "text": "≤ 1500 ms and ≤ 0.1 ×"},
    ),
}


def sandbox_environment(sandbox: str) -> dict:
    """The variables of the sandbox, and the secrets of the demo."""
    subprocess.run([sandbox, "up"], check=True, stdout=subprocess.DEVNULL)
    script = (
        f'eval "$({sandbox} env)"; unset GITHUB_TOKEN; '
        '. "$SANDBOX_STATE/demo-secrets.sh" 2>/dev/null || exit 3; env -0'
    )
    done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, check=False)
    if done.returncode == 3:
        raise SystemExit("bench: run `make demo` first: the example must be deployed")
    done.check_returncode()
    return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if "=" in pair)


def by_hand(sandbox: str, number: str) -> str:
    """What a workflow does today, with everything built and running: three builds, an apply, three waits. It is spared the
    three pushes (docker has no login here) and the smoke test; its apply is a dry run, since a real one would undo the
    digests."""
    lines = []
    for image in ("backend", "frontend", "event-service"):
        tag = f"127.77.{number}.1:5002/bench/{image}"
        lines.append(f"DOCKER_BUILDKIT=1 /usr/bin/docker build --quiet --tag {tag} {EXAMPLE}/{image}")
    lines.append(f"{sandbox} kubectl apply --dry-run=server --namespace todo-app-prod -f {EXAMPLE}/k8s/")
    for image in ("backend", "frontend", "event-service"):
        lines.append(f"{sandbox} kubectl rollout status --namespace todo-app-prod deployment/{image}")
    return "\n".join(lines)


def timed(words: list, env: dict) -> float:
    """Seconds of wall time; a command that fails ends the bench."""
    started = time.monotonic()
    done = subprocess.run(words, env=env, cwd=paths.REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    ended = time.monotonic()
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, words))}: {last_words(done.stdout.decode(errors='replace'))}")
    return round(ended - started, 5)


def main() -> int:
    """Runs the rows by turns and rewrites JSON and README."""
    seaway, runs = push.binary(), int(os.environ.get("RUNS", "5"))
    sandbox = subprocess.run([paths.REPOSITORY / "sandbox" / "build.sh"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    env = sandbox_environment(sandbox)
    file = ["--file", f"{EXAMPLE}/deploy.yml"]
    commands = {
        "start": ([seaway, "--version"], None), "check": ([seaway, "check", *file], None),
        "E11": ([seaway, "up", *file], ["bash", "-ec", by_hand(sandbox, env["SANDBOX_NUMBER"])]),
    }
    timed(commands["E11"][0], env)  # so that nothing is left to change
    figures = {name: {"seaway": [], "by_hand": []} for name in commands}
    for _ in range(runs):
        for name, (mine, theirs) in commands.items():
            figures[name]["seaway"].append(timed(mine, env))
            if theirs:
                figures[name]["by_hand"].append(timed(theirs, env))
    state = {
        "at": time.strftime("%d %B %Y %H:%M UTC", time.gmtime()), "machine": push.machine(), "seaway": push.describe(Path(seaway)),
        "versions": {"docker": install.versions()["docker"]}, "runs": runs,
        "rows": {name: {"id": name, "title": ROWS[name][0], "target": ROWS[name][1], **figures[name]} for name in commands},
    }
    paths.RESULTS.mkdir(exist_ok=True)
    (paths.RESULTS / "deploy.json").write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n")
    print(table.deploy_table(state))
    table.write_all()
    return 0
