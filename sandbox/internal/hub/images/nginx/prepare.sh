groupadd --system --gid 101 nginx
useradd --system --gid nginx --uid 101 --no-create-home --home-dir /nonexistent --shell /bin/false --comment 'nginx user' nginx
