#!/usr/bin/env bash
# A layer has the same bytes on every processor: the golden digests of ISA-L, on this machine's own processor and, on
# x86-64, on older ones that QEMU stands in for. ISA-L has a form for each: SSE4.2, AVX, AVX2; AVX-512 only natively. The
# oldest, without SSE4.2, gets the portable form, whose bytes are others: `--version` names it, and it has digests of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh release
test=image::compress::tests::the_bytes_of_known_layers_never_change
binary=$(cargo test --locked --features isal --lib --no-run --message-format json |
  sed -nE 's/.*"executable":"([^"]*\/seaway-[^"]*)".*/\1/p' | tail -n 1)

# check NAME COMMAND...: the one test, which must have run.
check() {
  local name=$1
  shift
  "$@" "$binary" --exact "$test" 2>&1 | grep '1 passed' >/dev/null || { echo "golden: other bytes on $name" >&2; exit 1; }
  echo "golden: the same bytes on $name"
}

check "this machine" env
[ "$(uname -m)" = x86_64 ] || exit 0
command -v qemu-x86_64 >/dev/null ||
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends qemu-user >/dev/null; }
for cpu in qemu64 Nehalem SandyBridge Haswell; do check "$cpu (QEMU)" qemu-x86_64 -cpu "$cpu"; done
