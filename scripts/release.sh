#!/usr/bin/env bash
# The static release binary in `dist/`, checked: its size, that it needs no library, that it runs in an empty root, and
# that it compresses layers with ISA-L: the digests of layers depend on the codec.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh release
target=$(uname -m)-unknown-linux-musl
if rustup target add "$target" >/dev/null 2>&1; then
  command -v musl-gcc >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq musl-tools >/dev/null; }
else
  # Without the musl target, glibc linked statically does as well: name look-ups go through our own resolver settings.
  target=$(uname -m)-unknown-linux-gnu
  export RUSTFLAGS="-C target-feature=+crt-static"
fi
cargo build --locked --release --features isal --target "$target"

mkdir -p dist
cp "target/$target/release/seaway" dist/seaway
cp /etc/ssl/certs/ca-certificates.crt dist/ # what the Dockerfile puts beside it
size=$(stat --format %s dist/seaway)
[ "$size" -le $((20 * 1024 * 1024)) ] || { echo "release: $size bytes is more than 20 MiB" >&2; exit 1; }
! ldd dist/seaway 2>/dev/null | grep -q '=>' || { echo "release: the binary is not static" >&2; exit 1; }
empty=$(mktemp -d)
trap 'rm -rf "$empty"' EXIT
cp dist/seaway "$empty/seaway"
[ "$(id -u)" != 0 ] || chroot "$empty" /seaway --version
case $(dist/seaway --version) in
  *"(gzip by isa-l 2."*" level 1)") ;;
  *) echo "release: the binary is not one with ISA-L: $(dist/seaway --version)" >&2; exit 1 ;;
esac
echo "release: dist/seaway, $((size / 1024 / 1024)) MiB, static, $target"
