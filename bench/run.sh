#!/usr/bin/env bash
# Times what the README promises, beside what people use today, on this machine, in one run.
# Prints a table of medians. Joins the sandbox that runs or starts it; installs the peers' Debian packages if need be.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${RUNS:-5}
seaway=$PWD/target/release/seaway
[ -x "$seaway" ] || seaway=$PWD/target/debug/seaway

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
export DATABASE_URL=postgresql://todo:$POSTGRES_PASSWORD@postgres:5432/todo

# What a workflow does today, with everything built and running: three builds, three pushes, an apply, three waits.
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
  "$(nproc)" "$(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo)" "$(uname -r)" "${seaway#"$PWD"/}" "$runs"
row what Seaway "by hand" ratio
row --- --- --- ---
row "start to first line (\`--version\`)" "$(median "$seaway" --version)" "" ""
row "\`check\` on examples/todo" "$(median "$seaway" check --file examples/todo/deploy.yml)" "" ""
mine=$(median "$seaway" up --file examples/todo/deploy.yml)
theirs=$(median by_hand)
row "nothing changed: \`up\` on examples/todo, against docker build and kubectl without the pushes" "$mine" "$theirs" \
  "$(awk -v a="$mine" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')"
