"""Task events on their way to Redis.

An event is written to PostgreSQL in the transaction of the change that it tells of, and moved to the stream afterwards.
So no change goes untold because Redis was away, and nothing is told that did not happen.
"""

import logging
import threading
import time

from psycopg import Connection, Error
from psycopg_pool import PoolTimeout
from redis import Redis, RedisError

from .cache import VERSION
from .database import Database

STREAM = "task-events"
KEPT = 10_000  # events that stay readable in the stream, about
PAUSE = 5  # seconds between looks for events that a request could not move

log = logging.getLogger(__name__)


class Outbox:
    """Events waiting in the table `outbox`."""

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    @staticmethod
    def add(connection: Connection, kind: str, task: str) -> None:
        """Note an event as part of the caller's transaction."""
        connection.execute("INSERT INTO outbox (type, task) VALUES (%s, %s)", (kind, task))

    def empty(self) -> None:
        """Move what waits to the stream. What cannot be moved stays."""
        try:
            with self._database.transaction() as connection:
                self._move(connection)
        except (RedisError, PoolTimeout, Error) as error:
            log.warning("events stay in the outbox: %s", error)

    def _move(self, connection: Connection) -> None:
        events = connection.execute(
            """DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED)
               RETURNING id, type, task::text, at"""
        ).fetchall()
        if not events:
            return
        pipeline = self._redis.pipeline(transaction=True)
        for event in sorted(events, key=lambda event: event["id"]):
            fields = {"type": event["type"], "task": event["task"], "at": event["at"].isoformat()}
            pipeline.xadd(STREAM, fields, maxlen=KEPT, approximate=True)
        pipeline.incr(VERSION)  # a change that was made while Redis was away could not tell the cache
        pipeline.execute()

    def keep_emptying(self) -> None:
        """Look again and again, in the background."""

        def loop() -> None:
            while True:
                time.sleep(PAUSE)
                self.empty()

        threading.Thread(target=loop, name="outbox", daemon=True).start()
