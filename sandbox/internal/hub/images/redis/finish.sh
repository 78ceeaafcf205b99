# redis:7 has no configuration file and keeps its data in /data.
rm -rf /etc/redis /var/lib/redis /var/log/redis /etc/init.d/redis-server
install --directory --owner redis --group redis /data
for program in redis-server redis-cli redis-benchmark; do ln -s "/usr/bin/$program" "/usr/local/bin/$program"; done
redis-server --version
