"""S9: pushes through faults. All tools at once, each through a proxy of its own: what counts is who gets there."""

import time
from concurrent.futures import ThreadPoolExecutor

from . import fixtures, peers
from .daemons import load
from .measure import Failure, run
from .proxy import Breaking, Fault
from .rows import HUB, check, entry

FIRST_PORT = 5100
MIB = fixtures.MIB
LARGE = 32 * MIB
FAULTS = {
    "cut": dict(cut_after=LARGE // 2),
    "503": dict(status=503, times=5),
    "429": dict(status=429, times=4, retry_after=1),
    "429-bare": dict(status=429, times=4),
    "token": dict(token_dies=True),
    "commit": dict(commit=60.0),
    "expiry": dict(lifetime=60.0, rate=56 * MIB / 80),
}
# Faults that go together: most of their time is waiting.
BATCHES = (("cut", "503"), ("429", "429-bare", "token"), ("commit", "expiry"))
TOOLS = ("seaway", "docker", "skopeo", "crane", "ctr", "buildkit")
PATIENCE = 200


def entries(rig, case: str, ports: dict) -> list:
    """Every tool, with the proxy's port that it is sent to."""
    image = fixtures.faulty()
    layout = fixtures.layout("faulty", image)
    layers = lambda n: image.diff_ids  # noqa: E731
    to = lambda tool: f"127.0.0.1:{ports[tool]}/{case}/{tool}:v1"  # noqa: E731
    rig.ctr.take(layout, to("ctr"))
    rig.docker.tag("bench/faulty:v1", to("docker"))
    context = peers.context(case, f"FROM 127.0.0.1:{HUB}/faulty:v1\nLABEL case={case}\n", {})
    return [
        entry(case, "seaway", lambda n: rig.seaway.push(case, f'{{ layout: "{layout}" }}', f"127.0.0.1:{ports['seaway']}"), layers),
        entry(case, "docker", lambda n: rig.docker.push(to("docker")), layers),
        entry(case, "skopeo", lambda n: rig.skopeo.copy(f"oci:{layout}:v1", to("skopeo")), layers),
        entry(case, "crane", lambda n: rig.crane.push_layout(layout, to("crane")), layers),
        entry(case, "ctr", lambda n: rig.ctr.push(to("ctr")), layers),
        entry(case, "buildkit", lambda n: rig.buildkit.build_and_push(context, to("buildkit")), layers, complete=False),
    ]


def prepare(rig):
    """Puts the image into the Engine and the other registry."""
    image = fixtures.faulty()
    load(image, "bench/faulty:v1")
    layout = fixtures.layout("faulty", image)
    run(rig.skopeo.copy(f"oci:{layout}:v1", f"127.0.0.1:{HUB}/faulty:v1"), "fill the hub")


def attempt(rig, found, fault: Fault, port: int) -> dict:
    """One push through one fault."""
    close = rig.proxies.listen(port, Breaking(str(rig.main.socket()), fault, LARGE).handle)
    command = found.command(0)
    command.patience = PATIENCE
    started, failure = time.monotonic(), ""
    compressed = 0
    try:
        output = run(command, found.tool)
        compressed = check(rig, found, rig.main, 0, output)
        if not fault.hits:
            failure = "the fault did not hit it"
    except Failure as problem:
        failure = str(problem)
    seconds = time.monotonic() - started
    close()
    return {
        "fault": fault.name, "tool": found.tool, "finished": not failure, "seconds": round(seconds, 2), "failure": failure,
        "hits": fault.hits, "uploaded": fault.body_bytes, "compressed": compressed,
    }


def measure(rig, say) -> list:
    """All faults, batch after batch; all tools through each at once."""
    prepare(rig)
    attempts, port = [], FIRST_PORT
    for batch in BATCHES:
        rig.main.wipe()
        rig.docker.forget()
        rig.skopeo.forget()
        rig.ctr.drop()
        pushes = []
        for name in batch:
            ports = {tool: port + number for number, tool in enumerate(TOOLS)}
            port += len(TOOLS)
            pushes += [(found, Fault(name, **FAULTS[name]), ports[found.tool]) for found in entries(rig, f"s9-{name}", ports)]
        with ThreadPoolExecutor(len(pushes)) as pool:
            results = list(pool.map(lambda push: attempt(rig, *push), pushes))
        for result in results:
            say(f"S9 {result['fault']} {result['tool']}: {'finished' if result['finished'] else result['failure']}")
        attempts += results
    return attempts
