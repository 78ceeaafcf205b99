# Makes the files of one image, in mount and process namespaces of its own, so that nothing stays mounted or running.
# Arguments: the workshop, the image's name, then the packages to install. In the workshop: NAME/files is the recipe,
# debian/root the base image's files, NAME/layer what this image adds to them. From outside come MIRROR,
# SECURITY_MIRROR and SOURCE_DATE_EPOCH.
set -eu
workshop=$1
name=$2
shift 2
own=$workshop/$name
files=$own/files
base=$workshop/debian/root

mount --make-rprivate /

if [ "$name" = debian ]; then
	root=$base
	mkdir -p "$root"
	cp -R "$files/root/." "$root/" # first of all: dpkg's settings are for the bootstrap too
	debootstrap --variant=minbase --include=ca-certificates,netbase,tzdata bookworm "$root" "$MIRROR"
	: >"$root/etc/resolv.conf" # debootstrap has put the machine's own there
	rm -rf "$root"/var/cache/apt/archives/* "$root"/var/lib/apt/lists/*
	mkdir -p "$root/usr/local/share/ca-certificates"
	cp "$workshop"/authorities/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null || : # none: nothing to add
else
	root=$own/root
	mkdir -p "$own/layer" "$own/overlay" "$root"
	mount -t overlay -o "lowerdir=$base,upperdir=$own/layer,workdir=$own/overlay,redirect_dir=off,metacopy=off,index=off" overlay "$root"
fi

cp -L /etc/resolv.conf "$workshop/resolv.conf"
mount --bind "$workshop/resolv.conf" "$root/etc/resolv.conf"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$workshop/apt/lists/partial" "$workshop/apt/archives/partial"
mount --bind "$workshop/apt/lists" "$root/var/lib/apt/lists"
mount --bind "$workshop/apt/archives" "$root/var/cache/apt"

inside() {
	chroot "$root" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
		MIRROR="$MIRROR" SECURITY_MIRROR="$SECURITY_MIRROR" http_proxy="${http_proxy-}" "$@"
}
run() { if [ -e "$files/$1" ]; then inside sh -eux <"$files/$1"; fi; }

if [ "$name" != debian ]; then
	[ -e "$workshop/apt/lists/lock" ] || inside apt-get update
	run prepare.sh
	inside apt-get install --yes --no-install-recommends "$@"
	if [ -d "$files/root" ]; then cp -R "$files/root/." "$root/"; fi
fi
run finish.sh

# What differs from one run to the next, and what belongs to the run only.
find "$root/var/log" -type f -delete
rm -rf "$root"/tmp/* "$root"/var/tmp/* "$root/var/cache/ldconfig/aux-cache" "$root"/var/cache/debconf/*-old \
	"$root"/var/lib/dpkg/*-old "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/gshadow- \
	"$root"/etc/subuid- "$root"/etc/subgid-
