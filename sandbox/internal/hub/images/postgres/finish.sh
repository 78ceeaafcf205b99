# postgres:15. The compiler for queries needs a library of 100 MB that nobody will miss here: `jit` is off instead.
# (dpkg knows nothing of it: the packages stay registered, so that later installs do not fetch them again.)
for package in libllvm14 libz3-4; do
	dpkg -L "$package" | while read -r file; do
		if [ -f "$file" ] || [ -L "$file" ]; then rm -f "$file"; fi
	done
done
rm -rf /usr/lib/postgresql/15/lib/bitcode /usr/lib/postgresql/15/lib/llvmjit*
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
find /etc/ssl/certs -xtype l -delete # the hash link to the latter
sed -i 's,/tmp/postgresql-common\.[[:alnum:]]*,/tmp/postgresql-common,' /var/cache/debconf/config.dat # a name that differs each time
sample=/usr/share/postgresql/15/postgresql.conf.sample
sed -i -E "s/^#?listen_addresses = .*/listen_addresses = '*'/; s/^#?jit = .*/jit = off/" "$sample"
grep -q "^listen_addresses = '\*'" "$sample" && grep -q '^jit = off' "$sample"
mkdir -p /docker-entrypoint-initdb.d
install --directory --owner postgres --group postgres --mode 3777 /var/run/postgresql
install --directory --owner postgres --group postgres --mode 1777 /var/lib/postgresql/data
ln -sf usr/local/bin/docker-entrypoint.sh /docker-entrypoint.sh
