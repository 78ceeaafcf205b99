"""Installs the peers: Debian's packages, Go programs at fixed versions, and Jib into a Maven repository of its own."""

import os
import shutil
import subprocess
import sys

from . import fixtures, oci, paths

CRANE = "github.com/google/go-containerregistry/cmd/crane@v0.22.1"
REGISTRY = "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"
BUILDKIT = "v0.32.0"
JIB = "3.5.1"

# package: what of it must be there
PACKAGES = {
    "docker.io": "/usr/sbin/dockerd", "containerd": "/usr/bin/ctr", "runc": "/usr/sbin/runc", "skopeo": "/usr/bin/skopeo",
    "buildah": "/usr/bin/buildah", "docker-registry": "/usr/bin/docker-registry", "iproute2": "/usr/sbin/tc",
    "busybox-static": "/bin/busybox", "util-linux": "/usr/bin/unshare",
}


def everything():
    """Installs what is missing."""
    paths.PROGRAMS.mkdir(parents=True, exist_ok=True)
    _packages()
    _go_install("crane", CRANE)
    _go_install("registry", REGISTRY)
    _buildkit("buildctl", paths.BENCH / "buildctl")
    _buildkit("buildkitd", paths.REPOSITORY / "sandbox" / "buildkit")
    _jib()


def _say(text: str):
    """Tells what takes a while."""
    print(f"bench: {text}", flush=True)


def _run(words: list, **rest):
    """Runs a step; on a failure its output is shown and the bench ends."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **rest)
    if done.returncode != 0:
        sys.stderr.write(done.stdout.decode(errors="replace")[-4000:])
        raise SystemExit(f"bench: failed: {' '.join(words)}")


def _packages():
    """Debian's packages. Nothing that they bring is started."""
    missing = [name for name, file in PACKAGES.items() if not os.path.exists(file)]
    if not shutil.which("mvn"):
        missing.append("maven")
    if not missing:
        return
    _say(f"installing {' '.join(missing)}")
    # A policy of 101 keeps services from starting: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
    policy = "/usr/sbin/policy-rc.d"
    own = not os.path.exists(policy)
    if own:
        with open(policy, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    try:
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        wait = ["-o", "DPkg::Lock::Timeout=300"]
        _run(["apt-get", *wait, "update", "-qq"], env=env)
        _run(["apt-get", *wait, "install", "-y", "-qq", "--no-install-recommends", *missing], env=env)
    finally:
        if own:
            os.unlink(policy)


def _go_environment() -> dict:
    """Static programs without traces of this machine."""
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -buildvcs=false", "GOBIN": str(paths.PROGRAMS)}


def _go_install(name: str, package: str):
    """A Go program at a version; the version is remembered beside it."""
    mark = paths.PROGRAMS / f"{name}.version"
    if mark.exists() and mark.read_text() == package:
        return
    _say(f"building {package}")
    _run(["go", "install", "-ldflags=-s -w", package], env=_go_environment(), cwd=str(paths.PROGRAMS))
    mark.write_text(package)


def _buildkit(name: str, module):
    """BuildKit's programs refuse `go install` (their module has exclusions), so each is a tool of a module that repeats them."""
    mark = paths.PROGRAMS / f"{name}.version"
    if mark.exists() and mark.read_text() == BUILDKIT:
        return
    _say(f"building {name} {BUILDKIT}")
    flags = f"-s -w -X github.com/moby/buildkit/version.Version={BUILDKIT}"
    words = ["go", "build", "-ldflags", flags, "-o", str(paths.PROGRAMS / name), f"github.com/moby/buildkit/cmd/{name}"]
    _run(words, env=_go_environment(), cwd=str(module))
    mark.write_text(BUILDKIT)


def maven_repository() -> str:
    """Where Maven keeps what Jib needs."""
    return str(paths.CACHE / "maven")


POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.example</groupId><artifactId>app</artifactId><version>1</version><packaging>war</packaging>
  <build>
    <finalName>app</finalName>
    <plugins>
      <plugin>
        <groupId>com.google.cloud.tools</groupId><artifactId>jib-maven-plugin</artifactId><version>%s</version>
        <configuration>
          <allowInsecureRegistries>true</allowInsecureRegistries>
          <container><appRoot>/usr/local/tomcat/webapps/ROOT</appRoot></container>
        </configuration>
      </plugin>
    </plugins>
  </build>
</project>
"""


def write_project(folder) -> None:
    """A Maven project whose `target/app.war` Jib puts into an image."""
    (folder / "target").mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(POM % JIB)


def jib_words(goal: str, *more: str) -> list:
    """Maven's command line for one goal of Jib."""
    quiet = ["mvn", "-B", "-q", f"-Dmaven.repo.local={maven_repository()}", "-Djib.disableUpdateChecks=true"]
    return [*quiet, *more, f"com.google.cloud.tools:jib-maven-plugin:{JIB}:{goal}"]


def _jib():
    """Lets Maven fetch the plug-in by making a tar with it, so that it works without a network later."""
    mark = paths.PROGRAMS / "jib.version"
    if mark.exists() and mark.read_text() == JIB:
        return
    _say(f"fetching jib-maven-plugin {JIB}")
    project = oci.fresh(paths.CACHE / "jib-probe")
    write_project(project)
    fixtures.write_probe_war(project / "target" / "app.war")
    home = f"-Duser.home={project}"
    _run(jib_words("buildTar", home, "-Djib.from.image=scratch"), cwd=str(project), env=os.environ | {"MAVEN_OPTS": home})
    shutil.rmtree(project)
    mark.write_text(JIB)


def versions() -> dict:
    """What the peers call themselves, for the report."""
    asked = {
        "docker": ["/usr/bin/docker", "--version"], "skopeo": ["skopeo", "--version"], "buildah": ["buildah", "--version"],
        "ctr": ["ctr", "--version"], "registry": ["docker-registry", "--version"],
        "buildkit": [str(paths.PROGRAMS / "buildctl"), "--version"],
    }
    found = {"crane": CRANE.split("@")[1], "jib": JIB, "registry v3": REGISTRY.split("@")[1]}
    for name, words in asked.items():
        text = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False).stdout.decode()
        numbers = [word.strip(",") for word in text.split() if any(c.isdigit() for c in word)]
        found[name] = numbers[0] if numbers else text.strip()
    return dict(sorted(found.items()))
