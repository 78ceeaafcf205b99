"""The rows of the push bench: what is pushed from where to where, by whom, and what is to be reached."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from . import fixtures, paths, peers, stage
from .daemons import BUILDKIT_SOCKET, load
from .measure import Command, Failure, run
from .proxy import far_away

MAIN, HUB, V3, FAR = 5000, 5001, 5002, 5010
BASE = f"127.0.0.1:{HUB}/tomcat:10"
ROUND_TRIP = 0.020
RATE = "1gbit"


def nothing(_round: int):
    """What there is to do before a push that needs no preparation."""


def warm(place: Path):
    """Has the kernel keep files in its cache, as after a build: whoever came first would read them from the disk for the
    others."""
    for path in (path for path in [place, *place.rglob("*")] if path.is_file()):
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass


@dataclass
class Entry:
    """One tool in one row."""

    tool: str
    repository: str
    command: Callable[[int], Command]
    layers: Callable[[int], list]  # what the pushed image's layers are, or begin with, before compression
    before: Callable[[int], None] = nothing
    tag: str = "v1"  # empty: the digest that the tool prints
    complete: bool = True
    most: int = 0  # rounds at most
    note: str = ""


@dataclass
class Row:
    """A row."""

    id: str
    title: str
    target: dict
    prepare: Callable  # of the rig: gives the entries
    quick: int = 0  # how many times as many rounds it takes: where one is over in a moment, single ones differ more than tools do
    settle: bool = False  # each tool pushes once, unmeasured, before the first round
    registry: str = "main"
    after: Callable = field(default=lambda rig: None)


def reference(port: int, case: str, tool: str) -> str:
    """Where a tool pushes to in a row."""
    return f"127.0.0.1:{port}/{case}/{tool}:v1"


def from_engine(rig, case: str, image: Callable[[int], str], layers, before=nothing, forgetful=True) -> list:
    """The entries of a row that pushes an image of the Engine. `image` is its name there."""
    docker, skopeo, buildah, crane = rig.docker, rig.skopeo, rig.buildah, rig.crane

    def to(tool: str) -> str:
        return reference(MAIN, case, tool)

    def forgetting(tool, more=nothing):
        def do(number: int):
            before(number)
            if forgetful:
                tool.forget()
            more(number)
        return do

    tag = lambda number: docker.tag(image(number), to("docker"))  # noqa: E731
    entries = [
        ("seaway", lambda n: rig.seaway.push(case, f'{{ engine: "{image(n)}" }}', f"127.0.0.1:{MAIN}"), before),
        ("docker", lambda n: docker.push(to("docker")), forgetting(docker, tag)),
        ("skopeo", lambda n: skopeo.copy(f"docker-daemon:{image(n)}", to("skopeo")), forgetting(skopeo)),
    ]
    found = [entry(case, tool, command, layers, ready) for tool, command, ready in entries]
    if case in ("s1", "s3"):
        export, registry = f"{case}-export", f"127.0.0.1:{MAIN}"
        exported = lambda n: rig.seaway.push_exported(export, image(n), registry)  # noqa: E731
        found.append(entry(export, "seaway by the Engine's export", exported, layers, before))
    once = dict(most=1, note="one round: it makes an archive or an image of its own first, which takes its time")
    found.append(entry(case, "buildah", lambda n: buildah.from_engine(image(n), to("buildah")), layers, forgetting(buildah), **once))
    if forgetful:  # else there is nothing new to see: it remembers nothing
        more = {} if case == "s2" else once
        found.append(entry(case, "crane", lambda n: crane.from_engine(image(n), to("crane")), layers, before, **more))
    return found


def entry(case: str, tool: str, command, layers, before=nothing, **more) -> Entry:
    """An entry; Seaway chooses its tag itself, so its digest is read from what it prints. A tool may stand in a row twice:
    behind its name is what is different then."""
    name, own = tool.split()[0], tool.startswith("seaway")
    return Entry(tool, f"{case}/{name}", command, layers, before, tag="" if own else "v1", **more)


def from_layout(rig, case: str, layout: Path, image, port: int = MAIN, before=nothing) -> list:
    """The entries of a row that pushes an OCI layout with compressed layers."""
    to = lambda tool: reference(port, case, tool)  # noqa: E731
    rig.ctr.drop()
    rig.ctr.take(layout, to("ctr"))
    layers = lambda n: image.diff_ids  # noqa: E731
    ready = lambda n: (before(n), warm(layout))  # noqa: E731
    found = [
        ("seaway", lambda n: rig.seaway.push(case, f'{{ layout: "{layout}" }}', f"127.0.0.1:{port}"), ready),
        ("crane", lambda n: rig.crane.push_layout(layout, to("crane")), ready),
        ("skopeo", lambda n: rig.skopeo.copy(f"oci:{layout}:v1", to("skopeo")), lambda n: (ready(n), rig.skopeo.forget())),
        ("ctr", lambda n: rig.ctr.push(to("ctr")), ready),
    ]
    return [entry(case, tool, command, layers, ready) for tool, command, ready in found]


def s1(rig) -> list:
    """From the Engine to an empty registry."""
    rig.engine_has_app()
    return from_engine(rig, "s1", lambda n: "bench/app:v1", lambda n: fixtures.app().diff_ids, before=rig.empty)


def s2(rig) -> list:
    """The registry has it, the machine does not know."""
    rig.engine_has_app()
    rig.main.wipe()
    return from_engine(rig, "s2", lambda n: "bench/app:v1", lambda n: fixtures.app().diff_ids)


def changed(rig, case: str, forgetful: bool) -> list:
    """The registry has the image with another last layer."""
    rig.engine_has_app()
    rig.engine_has_following()
    rig.main.wipe()
    rig.docker.forget()
    rig.skopeo.forget()
    name = lambda n: f"bench/app:next-{n}" if n else "bench/app:v1"  # noqa: E731
    layers = lambda n: (fixtures.following(n) if n else fixtures.app()).diff_ids  # noqa: E731
    return from_engine(rig, case, name, layers, forgetful=forgetful)


def s3(rig) -> list:
    """One layer changed, on a fresh machine."""
    return changed(rig, "s3", True)


def s3w(rig) -> list:
    """One layer changed, on a machine that pushed the image before."""
    return changed(rig, "s3w", False)


DOCKERFILE = f"""FROM {BASE}
COPY busybox /bin/busybox
RUN ["/bin/busybox", "mkdir", "-p", "/srv/app"]
COPY application.bin /srv/app/
"""


def s3s(rig) -> list:
    """A build in which only the last COPY is new."""
    rig.hub_has_base()
    rig.main.wipe()
    case = "s3s"
    contexts, tools = {}, ["seaway", "buildkit", "docker"]

    def context(tool: str, number: int) -> Path:
        """A context of the tool's own: Seaway and BuildKit share a daemon, and what one has built the other would find."""
        key = f"{tool}-{number}"
        if key not in contexts:
            files = {"busybox": Path("/bin/busybox"), "application.bin": rig.application(number * len(tools) + tools.index(tool))}
            contexts[key] = peers.context(f"{case}-{key}", DOCKERFILE, files)
        return contexts[key]

    commands = {
        "seaway": lambda n: rig.seaway.push(
            case, str(context("seaway", n)), f"127.0.0.1:{MAIN}", BUILDKIT_HOST=f"unix://{BUILDKIT_SOCKET}"),
        "buildkit": lambda n: rig.buildkit.build_and_push(context("buildkit", n), reference(MAIN, case, "buildkit")),
        "docker": lambda n: rig.docker.build_and_push(context("docker", n), reference(MAIN, case, "docker")),
    }
    layers = lambda n: fixtures.base().diff_ids  # noqa: E731
    prepare = lambda tool: lambda n: context(tool, n) and None  # noqa: E731
    return [entry(case, tool, commands[tool], layers, prepare(tool), complete=False) for tool in tools]


def s4(rig) -> list:
    """A compressed layout to an empty registry."""
    return from_layout(rig, "s4", fixtures.layout("app", fixtures.app()), fixtures.app(), before=rig.empty)


def s4v3(rig) -> list:
    """The same to distribution v3."""
    layout = fixtures.layout("app", fixtures.app())
    return from_layout(rig, "s4v3", layout, fixtures.app(), V3, before=lambda n: rig.v3.wipe())


def s5(rig) -> list:
    """A file onto a base."""
    rig.hub_has_base()
    rig.main.wipe()
    case, inside = "s5", "usr/local/tomcat/webapps/ROOT.war"
    to = lambda tool: reference(MAIN, case, tool)  # noqa: E731
    dockerfile = f"FROM {BASE}\nCOPY ROOT.war /{inside}\n"
    contexts, folders = {}, {}
    for number in range(rig.rounds + 1):
        fixtures.war(number + 1)  # not between the pushes, whose time it would take

    def ready(number: int):
        if number not in contexts:
            contexts[number] = peers.context(f"{case}-{number}", dockerfile, {"ROOT.war": fixtures.war(number + 1)})
            folders[number] = peers.context(f"{case}-{number}-files", "", {inside: fixtures.war(number + 1)})
            (folders[number] / "Dockerfile").unlink()
        warm(fixtures.war(number + 1))

    def copy(number: int) -> Command:
        text = f'{{ from: "{BASE}", copy: {{ ./ROOT.war: /{inside} }} }}'
        return rig.seaway.push(case, text, f"127.0.0.1:{MAIN}", {"ROOT.war": fixtures.war(number + 1)})

    found = [
        ("seaway", copy), ("crane", lambda n: rig.crane.append(BASE, folders[n], to("crane"))),
        ("docker", lambda n: rig.docker.build_and_push(contexts[n], to("docker"))),
        ("buildkit", lambda n: rig.buildkit.build_and_push(contexts[n], to("buildkit"))),
        ("buildah", lambda n: rig.buildah.build_and_push(contexts[n], to("buildah"))),
    ]
    layers = lambda n: fixtures.base().diff_ids  # noqa: E731
    return [entry(case, tool, command, layers, ready, complete=False) for tool, command in found]


def s5x(rig) -> list:
    """An exploded web application, of which one class changed."""
    rig.hub_has_base()
    rig.main.wipe()
    case = "s5x"

    def put(number: int) -> Command:
        text = f'{{ war: ./app.war, from: "{BASE}" }}'
        return rig.seaway.push(case, text, f"127.0.0.1:{MAIN}", {"app.war": fixtures.war(50, number)})

    layers = lambda n: fixtures.base().diff_ids  # noqa: E731
    jib = lambda n: rig.jib.push(BASE, reference(MAIN, case, "jib"))  # noqa: E731
    return [
        entry(case, "seaway", put, layers, lambda n: fixtures.war(50, n) and None, complete=False),
        entry(case, "jib", jib, layers, lambda n: rig.jib.prepare(fixtures.war(50, n)), complete=False),
    ]


def s6(rig) -> list:
    """Nothing changed, digests known."""
    rig.engine_has_app()
    rig.main.wipe()
    entries = from_layout(rig, "s6", fixtures.layout("app", fixtures.app()), fixtures.app())
    for found in entries:
        found.before = nothing  # skopeo keeps its memory
    to = reference(MAIN, "s6", "docker")
    rig.docker.tag("bench/app:v1", to)
    return [*entries, entry("s6", "docker", lambda n: rig.docker.push(to), lambda n: fixtures.app().diff_ids)]


def s7(rig) -> list:
    """Many small layers to a registry that is far away."""
    rig.proxies.listen(FAR, far_away(str(rig.main.socket()), ROUND_TRIP))
    image = fixtures.many()
    load(image, "bench/many:v1")
    entries = from_layout(rig, "s7", fixtures.layout("many", image), image, FAR, before=rig.empty)
    to = reference(FAR, "s7", "docker")
    rig.docker.tag("bench/many:v1", to)
    ready = lambda n: (rig.main.wipe(), rig.docker.forget())  # noqa: E731
    return [*entries, entry("s7", "docker", lambda n: rig.docker.push(to), lambda n: image.diff_ids, ready)]


def s8(rig) -> list:
    """One large layer over a link of 1 Gbit/s."""
    image = fixtures.big()
    entries = from_layout(rig, "s8", fixtures.layout("big-1", image), image, before=rig.empty)
    load(image, "bench/big:v1")
    to = reference(MAIN, "s8", "docker")
    rig.docker.tag("bench/big:v1", to)
    ready = lambda n: (rig.main.wipe(), rig.docker.forget())  # noqa: E731
    slow = "one round: it compresses 2 GiB on one thread"
    layers = lambda n: image.diff_ids  # noqa: E731
    own = lambda n: rig.seaway.push("s8", '{ engine: "bench/big:v1" }', f"127.0.0.1:{MAIN}")  # noqa: E731
    docker = entry("s8", "docker", lambda n: rig.docker.push(to), layers, ready, most=1, note=slow)
    exported = entry("s8", "seaway from the Engine", own, layers, rig.empty, most=1, note="one round, beside docker's")
    stage.shape(RATE)
    return [*entries, docker, exported]


def unshape(rig):
    """Takes the limit and the large image away."""
    stage.shape()
    rig.main.wipe()
    rig.ctr.drop()


def best(ratio: float, text: str) -> dict:
    """To be reached: so much of the best peer's time."""
    return {"kind": "best", "ratio": ratio, "text": text}


ROWS = [
    Row("S1", "from the Docker Engine to an empty registry", best(0.45, "≤ 0.45 ×"), s1),
    Row("S2", "the same image, fresh machine, the registry has it", best(0.02, "≤ 0.02 ×"), s2, settle=True),
    Row("S3", "one layer of 60 MiB changed, fresh machine, out of the Engine", best(0.35, "≤ 0.35 ×"), s3, settle=True),
    Row("S3s", "the same as a build with a warm BuildKit: only the last COPY is new",
        {"kind": "row", "row": "S3", "tool": "docker", "ratio": 0.06, "text": "≤ 0.06 × docker in S3"}, s3s, settle=True),
    Row("S3w", "as S3, but the tools remember their last push", best(1.0, "a loss is expected"), s3w, settle=True),
    Row("S4", "compressed OCI layout to an empty registry", best(1.0, "≤ 1.0 ×"), s4, quick=12),
    Row("S4v3", "the same to distribution v3", best(1.0, "≤ 1.0 ×"), s4v3, quick=12, registry="v3"),
    Row("S5", "a WAR of 60 MiB onto a base: build and push", best(0.5, "≤ 0.5 ×"), s5, settle=True, quick=2),
    Row("S5x", "exploded WAR, one class changed (jib's time has Maven and its JVM in it)", best(0.1, "≤ 0.1 ×"), s5x, settle=True),
    Row("S6", "nothing changed, digests known", best(1.05, "≤ 1.05 ×"), s6, quick=4, settle=True),
    Row("S7", "40 layers of 50 KiB, registry 20 ms away",
        {"kind": "requests", "per_blob": 2.0, "blobs": 41, "text": "≤ 2 requests a blob, fewest of all"}, s7),
    Row("S8", "one layer of 2 GiB over 1 Gbit/s",
        {"kind": "line", "bits": 1e9, "ratio": 1.10, "text": "≤ 1.10 × line time"}, s8, after=unshape),
]


class Rig:
    """What rows use: registries, daemons, tools."""

    def __init__(self, seaway: Path, registries: dict, daemons: list, proxies):
        self.main, self.hub, self.v3 = registries["main"], registries["hub"], registries["v3"]
        self.registries, self.daemons, self.proxies = registries, daemons, proxies
        self.docker, self.skopeo, self.buildah, self.crane = peers.Docker(), peers.Skopeo(), peers.Buildah(), peers.Crane()
        self.ctr, self.buildkit, self.jib, self.seaway = peers.Ctr(), peers.BuildKit(), peers.Jib(), peers.Seaway(seaway)
        self.rounds, self.loaded = 1, set()

    def empty(self, _round: int):
        """Empties the registry."""
        self.main.wipe()

    def engine_has_app(self):
        """Puts `app` into the Engine."""
        self._load("bench/app:v1", fixtures.app)

    def engine_has_following(self):
        """Puts the images with other last layers into the Engine, one for each round."""
        for number in range(1, self.rounds + 1):
            self._load(f"bench/app:next-{number}", lambda number=number: fixtures.following(number))

    def _load(self, name: str, image):
        """Puts an image into the Engine once."""
        if name not in self.loaded:
            load(image(), name)
            self.loaded.add(name)

    def hub_has_base(self):
        """Puts the base into the other registry."""
        if self.hub.get("/v2/tomcat/manifests/10")[0] == 200:
            return
        layout = fixtures.layout("base", fixtures.base())
        run(self.skopeo.copy(f"oci:{layout}:v1", BASE), "fill the hub")

    def application(self, number: int) -> Path:
        """A file of 60 MiB that does not compress, another one for each number."""
        path = paths.WORK / "applications" / f"{number}.bin"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(fixtures.noise(40_000 + number, 60))
        return path


def check(rig, found: Entry, registry, number: int, output: str) -> int:
    """Sees that what was pushed is there, and gives its compressed bytes."""
    tag = found.tag
    if not tag:
        digests = [word for word in output.replace('"', " ").split() if word.startswith("sha256:") and len(word) == 71]
        if not digests:
            raise Failure(f"no digest in the output: {output[-300:]}")
        tag = digests[0]
    return registry.verify(found.repository, tag, found.layers(number), found.complete)
