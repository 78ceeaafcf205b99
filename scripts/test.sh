#!/usr/bin/env bash
# Every test of the repository, quick ones first. The end-to-end suite starts the sandbox, or joins the one that runs.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh tests

step() { printf '\n== %s\n' "$1"; }

step "Seaway: unit, property and integration tests, house rules"
cargo test --locked --lib --bins --test integration

step "the bench's rig"
python3 -m unittest discover -s bench

step "sandbox: build"
sandbox=$(SANDBOX_MOBY=1 sandbox/build.sh)

step "sandbox: its own tests"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# -v, because `go test` is silent about skipped tests otherwise; of the rest only what matters is shown.
(cd sandbox && CGO_ENABLED=0 go test -trimpath -count=1 -timeout 25m -v ./...) >"$log" 2>&1 ||
  { grep -vE '^=== ' "$log" | tail -n 200; exit 1; }
grep -E '^(ok|FAIL|--- SKIP)|^ +[a-z_]+_test\.go:[0-9]+: .*(cannot|needs|no description|not installed)' "$log"

step "end to end: real Kubernetes, registry, Docker Engine, load balancer"
"$sandbox" up
(
  eval "$("$sandbox" env)"
  unset GITHUB_TOKEN
  cargo test --locked --lib sandbox_tests -- --ignored --test-threads 1
)
cargo test --locked --test end_to_end -- --test-threads 3
