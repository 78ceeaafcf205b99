# Process 1 of an enclosure: prepares the mounts, waits for the cable, then runs the daemon and reaps what it leaves.
# Arguments: the files to show as /etc/resolv.conf and /etc/hosts, then the daemon's command line. A line on standard input
# says that the cable is plugged in; the end of the input means that whoever opened the enclosure is gone.
set -eu
resolver=$1
hosts=$2
shift 2

mount --make-rprivate /
mount -t proc proc /proc
# An empty /run: a daemon takes sockets it finds there for its own (dockerd would use the machine's containerd).
target=$(readlink -m /etc/resolv.conf)
mount -t tmpfs -o mode=755 tmpfs /run
if [ ! -e "$target" ]; then # it was a link into /run, as systemd-resolved makes it
	mkdir -p "$(dirname "$target")"
	: >"$target"
fi
mount --bind "$resolver" "$target"
mount --bind "$hosts" /etc/hosts
mount -t tmpfs -o mode=755 tmpfs /opt # containerd makes a folder there whatever its configuration says

read -r _ || exit 0
"$@" </dev/null &
daemon=$!
trap 'kill -TERM "$daemon" 2>/dev/null || :' TERM
# A trap ends `wait` early with a status above 128, so ask again until the daemon itself has ended.
while :; do
	status=0
	wait "$daemon" || status=$?
	kill -0 "$daemon" 2>/dev/null || exit "$status"
done
