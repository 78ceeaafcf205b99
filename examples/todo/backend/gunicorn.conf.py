"""How gunicorn serves the API: one process with threads, because the work is waiting for PostgreSQL and Redis."""

bind = "0.0.0.0:8000"
workers = 1
threads = 8
worker_tmp_dir = "/dev/shm"  # the heartbeat file: the root file system may be read-only
graceful_timeout = 20
