#!/usr/bin/env bash
# Checks the toolchains and installs the Debian packages that the builds of this repository need.
# On other systems it only says what is missing. The sandbox installs its own parts (sandbox/build.sh).
# With `tests`: what the tests need beside that, pydo and GitHub's description of its API as clients of the sandbox.
# With `release`: what ISA-L, the codec of the released binary, is built with.
set -euo pipefail

wanted_rust=1.91
wanted_go=1.26

# at_least HAVE WANT: whether a version is at least another.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

fail() { printf 'setup: %s\n' "$1" >&2; exit 2; }

command -v cargo >/dev/null || fail "no Rust: install $wanted_rust or newer from https://rustup.rs, then run this again"
command -v go >/dev/null || fail "no Go: install $wanted_go or newer from https://go.dev/dl, then run this again"
rust=$(rustc --version | cut -d' ' -f2)
go=$(go env GOVERSION | sed 's/^go//')
at_least "$rust" "$wanted_rust" || fail "Rust $rust is too old: $wanted_rust or newer is wanted (rustup update)"
at_least "$go" "$wanted_go" || fail "Go $go is too old: $wanted_go or newer is wanted"

missing=()
for tool in cc:gcc make:make git:git curl:curl; do
  command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
[ -f /usr/include/stdio.h ] || missing+=(libc6-dev)
[ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
if [ "${1:-}" = tests ]; then
  command -v npm >/dev/null || missing+=(npm)
  command -v python3 >/dev/null || missing+=(python3)
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
fi
if [ "${1:-}" = release ]; then
  for tool in autoreconf:autoconf automake:automake libtoolize:libtool; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
  done
  if [ "$(uname -m)" = x86_64 ]; then command -v nasm >/dev/null || missing+=(nasm); fi
fi
[ ${#missing[@]} -eq 0 ] && exit 0

command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || fail "install these and run this again: ${missing[*]}"
echo "setup: installing ${missing[*]}" >&2
apt-get update -qq >&2
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
