"""A cache of the task list in Redis. It may be empty, gone or restarted at any time: PostgreSQL has the truth."""

import json
import logging
from collections.abc import Callable

from redis import Redis, RedisError

VERSION = "tasks:version"
SECONDS = 60

log = logging.getLogger(__name__)


class Cache:
    """The list under a version number that every change raises.

    A reader notes the version before it asks PostgreSQL, so what it stores after a change of somebody else is stored
    under a version that nobody asks for any more.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def tasks(self, load: Callable[[], list]) -> list:
        """Return the cached list, or load and keep it."""
        try:
            version = self._redis.get(VERSION) or "0"
            kept = self._redis.get(f"tasks:list:{version}")
        except RedisError as error:
            log.warning("the cache is not available: %s", error)
            return load()
        if kept is not None:
            return json.loads(kept)
        fresh = load()
        try:
            self._redis.set(f"tasks:list:{version}", json.dumps(fresh), ex=SECONDS)
        except RedisError as error:
            log.warning("the list was not cached: %s", error)
        return fresh

    def forget(self) -> None:
        """Make every reader load the list again."""
        try:
            self._redis.incr(VERSION)
        except RedisError as error:
            log.warning("the cached list may be up to %d s old: %s", SECONDS, error)
