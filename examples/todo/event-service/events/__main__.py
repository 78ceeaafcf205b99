"""Starts the consumer and the HTTP server, and ends both in order when Kubernetes says so."""

import logging
import os
import signal
import socket
import threading

from redis import Redis

from .consumer import Consumer
from .server import serve


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    redis = Redis(
        host=os.environ.get("REDIS_HOST", "redis"),
        port=int(os.environ.get("REDIS_PORT", "6379")),
        password=os.environ.get("REDIS_PASSWORD") or None,
        socket_timeout=5,  # longer than the consumer waits for events
        socket_connect_timeout=2,
        decode_responses=True,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    consumer = Consumer(redis, name=socket.gethostname(), stop=stop)
    consumer.start()
    serve(("0.0.0.0", 8000), redis, consumer, stop)
    consumer.join(timeout=10)


main()
