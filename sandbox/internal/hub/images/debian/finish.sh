# debian:bookworm-slim: the archive's sources, the machine's certificate authorities, and nothing that nobody reads.
rm -f /etc/apt/sources.list
cat >/etc/apt/sources.list.d/debian.sources <<END
Types: deb
URIs: $MIRROR
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: $SECURITY_MIRROR
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
update-ca-certificates
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -type l -delete
find /usr/share/doc -type d -empty -delete
rm -rf /usr/share/man/* /usr/share/info/* /usr/share/locale/* /usr/share/lintian /usr/share/groff
: >/etc/machine-id
echo localhost >/etc/hostname
