#!/usr/bin/env bash
# Runs every fuzz target, or those that are named, for so many seconds each: FUZZ_SECONDS, 60 unless told otherwise.
# What a target chokes on is left in fuzz/artifacts/TARGET; `cargo fuzz run TARGET FILE` shows it again.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz --version 0.13.1
command -v g++ >/dev/null ||
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ >/dev/null; }
# cargo-fuzz asks for flags that only a nightly compiler takes; the stable one takes them too when it is told that we know.
export RUSTC_BOOTSTRAP=1

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(sed -nE 's/^name = "([a-z]+)"$/\1/p' fuzz/Cargo.toml)
# Without a sanitizer: the parsers are safe Rust; what is looked for are panics, endless loops and memory without bound.
cargo fuzz build --sanitizer none
for target in "${targets[@]}"; do
  printf '\n== fuzz: %s\n' "$target"
  mkdir -p "fuzz/corpus/$target"
  cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0
done
