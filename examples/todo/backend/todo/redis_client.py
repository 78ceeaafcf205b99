"""The connection to Redis."""

import os

from redis import Redis


def connect() -> Redis:
    """Connect lazily; a Redis that does not answer costs a request at most a second."""
    return Redis(
        host=os.environ.get("REDIS_HOST", "redis"),
        port=int(os.environ.get("REDIS_PORT", "6379")),
        password=os.environ.get("REDIS_PASSWORD") or None,
        socket_timeout=1,
        socket_connect_timeout=1,
        decode_responses=True,
    )
