"""The tools: how each is made to forget, and how it pushes."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

from . import install, oci, paths
from .daemons import CONTAINERD_SOCKET, DOCKER_FOLDER
from .measure import Command, run

POLICY = '{"default":[{"type":"insecureAcceptAnything"}]}'


class Docker:
    """`docker push`; dockerd does the work."""

    name = "docker"

    def forget(self):
        """What the daemon knows of registries: the state of an Engine on a fresh machine. It reads these files each time."""
        shutil.rmtree(DOCKER_FOLDER / "image" / "overlay2" / "distribution", ignore_errors=True)

    def tag(self, image: str, reference: str):
        """Gives an image of the Engine the name that it is pushed under."""
        run(Command(["/usr/bin/docker", "tag", image, reference]))

    def push(self, reference: str) -> Command:
        """Pushes by name."""
        return Command(["/usr/bin/docker", "push", "--quiet", reference])

    def build_and_push(self, context: Path, reference: str) -> Command:
        """Builds with the Engine's BuildKit, then pushes."""
        build = f"/usr/bin/docker build --quiet --network none --tag {reference} {context}"
        return Command.shell(f"{build}\n/usr/bin/docker push --quiet {reference}")


CONTAINERS = Path("/var/lib/containers")
TURN = threading.Lock()


def own_memory(tool: str) -> Path:
    """The memory of which blob is where, which skopeo and buildah would share: each gets one of its own, the one whose turn
    it is under the name that both know."""
    folder, known = CONTAINERS / f"cache-{tool}", CONTAINERS / "cache"
    folder.mkdir(exist_ok=True)
    with TURN:
        if not known.is_symlink() or known.readlink() != folder:
            known.unlink(missing_ok=True)
            known.symlink_to(folder)
    return folder


class Skopeo:
    """`skopeo copy`, from an Engine or from a layout."""

    name = "skopeo"

    def forget(self):
        """Its memory of which blob is where."""
        for child in own_memory(self.name).iterdir():
            child.unlink()

    def copy(self, source: str, reference: str) -> Command:
        """Copies to a registry."""
        own_memory(self.name)
        words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        if source.startswith("docker-daemon:"):
            words += ["--src-daemon-host", "unix:///run/docker.sock"]
        return Command([*words, source, f"docker://{reference}"])


class Buildah:
    """`buildah`: its own storage between Engine and registry, or a build of its own."""

    name = "buildah"

    def _policy(self) -> str:
        """A file that lets it take images without a signature."""
        own_memory(self.name)
        path = paths.WORK / "policy.json"
        path.write_text(POLICY)
        return f"--signature-policy {path} --tls-verify=false"

    def forget(self):
        """All images and what it knows of registries."""
        subprocess.run(["buildah", "rmi", "--all", "--force"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        for child in own_memory(self.name).iterdir():
            child.unlink()

    def from_engine(self, image: str, reference: str) -> Command:
        """Takes an image out of the Engine, then pushes it."""
        policy = self._policy()
        pull = f"buildah pull --quiet {policy} docker-daemon:{image}"
        return Command.shell(f"image=$({pull})\nbuildah push --quiet {policy} $image docker://{reference}")

    def build_and_push(self, context: Path, reference: str) -> Command:
        """Builds a Dockerfile with its cache of layers, then pushes."""
        policy = self._policy()
        build = f"buildah bud --quiet --layers --isolation chroot {policy} --tag {reference} {context}"
        return Command.shell(f"{build}\nbuildah push --quiet {policy} {reference} docker://{reference}")


class Crane:
    """`crane`: pushes layouts and archives, appends layers."""

    name = "crane"

    def forget(self):
        """It remembers nothing."""

    def push_layout(self, layout: Path, reference: str) -> Command:
        """Pushes an OCI layout."""
        return Command(["crane", "push", "--insecure", layout, reference])

    def from_engine(self, image: str, reference: str) -> Command:
        """Has the Engine write an archive, and pushes that."""
        archive = paths.WORK / "tmp" / "crane.tar"
        script = f"/usr/bin/docker save --output {archive} {image}\ncrane push --insecure {archive} {reference}\nrm {archive}"
        return Command.shell(script)

    def append(self, base: str, folder: Path, reference: str) -> Command:
        """Puts the files of a folder onto a base, in a registry."""
        archive = paths.WORK / "tmp" / "append.tar"
        tar = f"tar --create --file {archive} --owner 0 --group 0 --directory {folder} ."
        return Command.shell(f"{tar}\ncrane append --insecure --base {base} --new_layer {archive} --new_tag {reference}")


class Ctr:
    """containerd's `ctr`, with the containerd of the Engine."""

    name = "ctr"
    words = ["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "bench"]

    def forget(self):
        """It asks the registry each time."""

    def take(self, layout: Path, reference: str):
        """Puts a layout into containerd's store, compressed as it is, under the name that it is pushed under."""
        words = " ".join(self.words)
        run(Command.shell(
            f"tar --create --directory {layout} . | {words} images import --no-unpack --base-name bench/import -\n"
            f"{words} images tag --force bench/import:v1 {reference}"
        ))

    def push(self, reference: str) -> Command:
        """Pushes by name."""
        return Command([*self.words, "images", "push", "--plain-http", reference])

    def drop(self):
        """Removes all images."""
        names = run(Command([*self.words, "images", "list", "--quiet"])).split()
        if names:
            run(Command([*self.words, "images", "remove", "--sync", *names]))


class BuildKit:
    """`buildctl build` with BuildKit's own image exporter; buildkitd does the work."""

    name = "buildkit"

    def forget(self):
        """It asks the registry each time."""

    def build_and_push(self, context: Path, reference: str) -> Command:
        """Builds a Dockerfile and pushes from the exporter."""
        words = ["buildctl", "--addr", "unix:///run/buildkit.sock", "build", "--progress", "plain", "--frontend", "dockerfile.v0"]
        words += ["--local", f"context={context}", "--local", f"dockerfile={context}"]
        return Command([*words, "--output", f"type=image,name={reference},push=true,registry.insecure=true"])


class Jib:
    """Jib through its Maven plug-in. Maven and its JVM start for each push, and are in its time."""

    name = "jib"
    project = paths.WORK / "jib"

    def prepare(self, war: Path):
        """Puts a web application where a build would leave it."""
        install.write_project(self.project)
        shutil.copyfile(war, self.project / "target" / "app.war")

    def push(self, base: str, reference: str) -> Command:
        """Makes the layers and pushes."""
        home = f"-Duser.home={paths.WORK / 'home'}"
        words = install.jib_words("build", home, f"-Djib.from.image={base}", f"-Djib.to.image={reference}",
                                  "-DsendCredentialsOverHttp=true")
        return Command(words, folder=self.project)


class Seaway:
    """`seaway push` with a deploy.yml for each case."""

    name = "seaway"

    def __init__(self, program: Path):
        self.program = program

    def forget(self):
        """It remembers nothing."""

    def push_exported(self, case: str, image: str, registry: str) -> Command:
        """Pushes an image of the Engine as whoever may not read the Engine's own folder: by the Engine's export."""
        return self.push(case, f'{{ engine: "{image}" }}', registry).without(DOCKER_FOLDER)

    def push(self, case: str, image: str, registry: str, files=(), **variables) -> Command:
        """Pushes what `image`, a line of YAML, describes, into the repository `CASE/seaway`. `files` are linked beside
        deploy.yml."""
        folder = paths.WORK / "seaway" / case
        folder.mkdir(parents=True, exist_ok=True)
        text = f"name: bench\nregistry: {{ host: \"{registry}\", repository: {case} }}\nimages:\n  seaway: {image}\n"
        (folder / "deploy.yml").write_text(text)
        for name, target in dict(files).items():
            place = folder / name
            place.unlink(missing_ok=True)
            os.link(target, place)
        if files:
            time.sleep(0.05)  # what a build has written is older than a tick of the clock; a link makes it new
        words = [self.program, "push", "--file", folder / "deploy.yml", "--output", "json"]
        return Command(words, env={"CI": "true", **variables}, folder=folder)


def context(name: str, dockerfile: str, files: dict) -> Path:
    """A folder with a Dockerfile and links to files."""
    folder = oci.fresh(paths.WORK / "contexts" / name)
    (folder / "Dockerfile").write_text(dockerfile)
    for file_name, target in files.items():
        (folder / file_name).parent.mkdir(parents=True, exist_ok=True)
        os.link(target, folder / file_name)
    return folder
