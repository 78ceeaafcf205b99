#!/usr/bin/env bash
# Times what the README promises, beside what people use today, on this machine, in one run.
# Prints a table of medians. Joins the sandbox that runs or starts it; `make demo` has deployed the example there before.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${RUNS:-5}
# The binary: $SEAWAY, else the release of `make release`, else the debug build.
for seaway in ${SEAWAY:-} "$PWD/dist/seaway" "$PWD/target/debug/seaway"; do [ ! -x "$seaway" ] || break; done
kind=release
[ "$seaway" != "$PWD/target/debug/seaway" ] || kind=debug

# median COMMAND…: the median of the wall times in milliseconds; a command that fails ends the bench.
median() {
  local times=() start end
  for _ in $(seq "$runs"); do
    start=$(date +%s%N)
    "$@" >/tmp/seaway-bench.log 2>&1 || { echo "bench: $* failed:" >&2; tail -n 20 /tmp/seaway-bench.log >&2; exit 1; }
    end=$(date +%s%N)
    times+=($(((end - start) / 1000)))
  done
  printf '%s\n' "${times[@]}" | sort -n | awk '{ v[NR] = $1 } END { printf "%.1f", v[int((NR + 1) / 2)] / 1000 }'
}

row() { printf '| %s | %s | %s | %s |\n' "$@"; }

sandbox=$(sandbox/build.sh)
"$sandbox" up >/dev/null
eval "$("$sandbox" env)"
unset GITHUB_TOKEN
. "$SANDBOX_STATE/demo-secrets.sh" 2>/dev/null || { echo "bench: run \`make demo\` first: the example must be deployed" >&2; exit 2; }

# What a workflow does today, with everything built and running: three builds, an apply, three waits. It is spared the
# three pushes (docker has no login here) and the smoke test, and the apply is a dry run, since it would undo the digests.
by_hand() {
  local image
  for image in backend frontend event-service; do
    DOCKER_BUILDKIT=1 /usr/bin/docker build --quiet --tag "127.77.$SANDBOX_NUMBER.1:5002/bench/$image" "examples/todo/$image"
  done
  "$sandbox" kubectl apply --dry-run=server --namespace todo-app-prod -f examples/todo/k8s/
  for image in backend frontend event-service; do
    "$sandbox" kubectl rollout status --namespace todo-app-prod "deployment/$image"
  done
}

printf 'machine: %s cores, %s, %s\nbinary:  %s\nruns:    %s, medians in milliseconds\n\n' \
  "$(nproc)" "$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)" "$(uname -r)" "$("$seaway" --version), $kind build, $(($(stat -Lc %s "$seaway") / 1000000)) MB" "$runs"
row what Seaway "by hand" ratio
row --- --- --- ---
row "start to first line (\`--version\`)" "$(median "$seaway" --version)" "" ""
row "\`check\` on examples/todo" "$(median "$seaway" check --file examples/todo/deploy.yml)" "" ""
"$seaway" up --file examples/todo/deploy.yml >/tmp/seaway-bench.log 2>&1 # so that nothing is left to change
mine=$(median "$seaway" up --file examples/todo/deploy.yml)
theirs=$(median by_hand)
row "nothing changed: \`up\` on examples/todo with its smoke test; by hand without pushes and smoke test" "$mine" "$theirs" \
  "$(awk -v a="$mine" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')"
