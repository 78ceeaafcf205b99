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
  takes      9 minutes from nothing on two quiet cores (25 on two busy ones), about a minute when all is built
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
random() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
if [ ! -s "$secrets" ]; then
  postgres=$(random)
  (umask 077 && cat > "$secrets") <<TEXT
export POSTGRES_PASSWORD=$postgres
export DATABASE_URL=postgresql://todo:$postgres@postgres:5432/todo
export REDIS_PASSWORD=$(random)
export OPENAI_API_KEY=
TEXT
fi
. "$secrets"

# What the runner of a workflow on pull request #42 sets.
cat > "$work.event.json" <<'JSON'
{ "action": "synchronize", "number": 42,
  "pull_request": { "number": 42, "head": { "ref": "todo-42", "repo": { "full_name": "acme/todo" } }, "base": { "ref": "main" } },
  "repository": { "full_name": "acme/todo", "name": "todo", "owner": { "login": "acme" } } }
JSON
trap 'rm -rf "$work" "$work.event.json"' EXIT
as_pull_request() {
  GITHUB_ACTIONS=true GITHUB_EVENT_NAME=pull_request GITHUB_EVENT_PATH=$work.event.json GITHUB_REF=refs/pull/42/merge \
    GITHUB_REPOSITORY=acme/todo GITHUB_RUN_ID=$(date +%s) GITHUB_RUN_ATTEMPT=1 "$@"
}
as_person() { env -u GITHUB_TOKEN "$@"; }

say "2. As the action on pull request #42 of acme/todo"
url=$(as_pull_request "$seaway" action | tail -n 1)

say "3. The comment on the pull request, as a reader sees it"
curl --silent --fail -H "Authorization: Bearer $GITHUB_TOKEN" "$GITHUB_API_URL/repos/acme/todo/issues/42/comments?per_page=100" |
  "$root/scripts/comment.sh"

say "4. \`seaway up\`, as a person: nothing changes"
as_person "$seaway" up

say "5. One line of the backend changes: only that image and that Deployment move"
printf '# A line more.\n' >> backend/todo/__init__.py
as_person "$seaway" up

say "Done in $((SECONDS - started)) s"
curl --silent --fail --max-time 5 --output /dev/null "$url/"
echo "URL $url"
echo
echo "It stays up. Look around with:  eval \"\$($sandbox env)\"; $sandbox kubectl get pods --all-namespaces"
echo "Stop it, leaving nothing, with:  make sandbox-down"
