# nginx:1.22 logs to the container's output, reads /etc/nginx/conf.d, and keeps temporary files in /var/cache/nginx.
rm -rf /etc/nginx/sites-available /etc/nginx/sites-enabled /etc/nginx/modules-enabled /etc/nginx/modules-available \
	/etc/nginx/snippets /var/www /var/lib/nginx /usr/share/nginx/html/index.nginx-debian.html /etc/init.d/nginx
mkdir -p /var/cache/nginx /var/log/nginx /etc/nginx/templates
rmdir /etc/nginx/templates # made by whoever has templates
chown nginx:nginx /var/cache/nginx
ln -s /var/cache/nginx /var/lib/nginx # where Debian's binary looks
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
nginx -t
rm -rf /var/cache/nginx/* /run/nginx.pid
