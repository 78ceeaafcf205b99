#!/usr/bin/env bash
# The main job end to end, on this machine: a DigitalOcean account made of real parts, and `examples/todo` deployed to it
# as a pull request. Run it again at any time: what is built and running is used as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
started=$SECONDS

cat <<TEXT
Seaway's demonstration
  installs   Debian packages for the sandbox (containerd, runc, CNI plugins, docker.io, …), Go and Rust modules
  needs      Rust ($(rustc --version | cut -d' ' -f2)) and Go ($(go env GOVERSION | sed s/^go//)), root, 4 GiB of memory, 12 GiB of disk
  takes      up to 20 minutes from nothing on two cores, under a minute when all is built
TEXT

say "1. The sandbox: Kubernetes, registry, Docker Engine, load balancers, GitHub"
sandbox=$(sandbox/build.sh)
"$sandbox" up
eval "$("$sandbox" env)"
seaway=$root/target/debug/seaway

# The example is worked on in a copy, so that this clone stays as it is.
work=$(mktemp -d /tmp/seaway-demo.XXXXXX)
trap 'rm -rf "$work"' EXIT
cp -r examples/todo/. "$work"
cd "$work"
git init --quiet --initial-branch=todo-42
git -c user.name=Demo -c user.email=demo@example.com add --all
git -c user.name=Demo -c user.email=demo@example.com commit --quiet --message "todo"

# The secrets of the example: made here, kept beside the sandbox so that the database stays readable, never committed.
secrets=$SANDBOX_STATE/demo-secrets.sh
if [ ! -s "$secrets" ]; then
  (umask 077; for name in POSTGRES_PASSWORD REDIS_PASSWORD OPENAI_API_KEY; do
    printf 'export %s=%s\n' "$name" "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  done > "$secrets")
fi
. "$secrets"

# What a workflow on a pull request has in its environment.
cat > "$work.event.json" <<'JSON'
{ "action": "synchronize", "number": 42,
  "pull_request": { "number": 42, "head": { "ref": "todo-42", "repo": { "full_name": "acme/todo" } }, "base": { "ref": "main" } },
  "repository": { "full_name": "acme/todo", "name": "todo", "owner": { "login": "acme" } } }
JSON
trap 'rm -rf "$work" "$work.event.json"' EXIT
export GITHUB_EVENT_NAME=pull_request GITHUB_EVENT_PATH=$work.event.json GITHUB_REPOSITORY=acme/todo
export GITHUB_RUN_ID=$(date +%s) GITHUB_RUN_ATTEMPT=1 GITHUB_SERVER_URL=https://github.com

say "2. seaway up, as pull request #42 of acme/todo"
url=$("$seaway" up | tee /dev/stderr | tail -n 1)

say "3. The comment on the pull request, as a reader sees it"
curl --silent --fail -H "Authorization: Bearer $GITHUB_TOKEN" "$GITHUB_API_URL/repos/acme/todo/issues/42/comments" |
  python3 -c 'import json,sys; [print(c["body"]) for c in json.load(sys.stdin)]' 2>/dev/null ||
  curl --silent --fail -H "Authorization: Bearer $GITHUB_TOKEN" "$GITHUB_API_URL/repos/acme/todo/issues/42/comments"

say "4. seaway up again: nothing changes"
"$seaway" up >/dev/null

say "5. One line of the backend changes: only that image and that Deployment move"
sed -i '1s/^/# A change of one line.\n/' backend/todo/__init__.py
"$seaway" up >/dev/null

say "Done in $((SECONDS - started)) s"
curl --silent --fail --output /dev/null "$url/"
echo "URL $url"
echo
echo "It stays up. Look around with:  eval \"\$($sandbox env)\"; $sandbox kubectl get pods --all-namespaces"
echo "Stop it, leaving nothing, with:  make sandbox-down"
