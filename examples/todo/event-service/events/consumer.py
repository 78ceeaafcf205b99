"""The consumer of task events.

All replicas form one consumer group, so that each event is counted by one of them. Counting and acknowledging are one
transaction: an event that was read but not acknowledged, because a replica died, is claimed by another and counted then.
"""

import logging
import threading
import time

from redis import Redis, RedisError, ResponseError

STREAM = "task-events"
GROUP = "event-service"
TOTAL = "events:total"
BY_TYPE = "events:by-type"
WAIT = 2_000  # milliseconds that one read waits for events
ABANDONED = 30_000  # milliseconds after which an event of another replica is taken over
SILENCE = 60  # seconds without a sign of life after which the consumer counts as stuck

log = logging.getLogger(__name__)


class Consumer(threading.Thread):
    """Counts events until told to stop."""

    def __init__(self, redis: Redis, name: str, stop: threading.Event) -> None:
        super().__init__(name="consumer", daemon=True)
        self._redis = redis
        self._name = name
        self._stop_event = stop
        self._beat = time.monotonic()
        self._next_claim = 0.0

    def alive(self) -> bool:
        """Say whether the loop goes round, with or without Redis."""
        return self.is_alive() and time.monotonic() - self._beat < SILENCE

    def run(self) -> None:
        """Join the group and count; a Redis that is away is asked again."""
        joined = False
        while not self._stop_event.is_set():
            self._beat = time.monotonic()
            try:
                if not joined:
                    self._join_group()
                    joined = True
                self._claim_abandoned()
                self._count(self._read())
            except ResponseError as error:
                log.warning("the group has to be joined again: %s", error)  # Redis lost its data
                joined = False
                self._stop_event.wait(1)
            except RedisError as error:
                log.warning("Redis is not available: %s", error)
                self._stop_event.wait(1)
        self._leave_group()

    def _join_group(self) -> None:
        try:
            self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # another replica made it
                raise

    def _leave_group(self) -> None:
        """Take this name out of the group, unless events are still due under it."""
        try:
            consumers = self._redis.xinfo_consumers(STREAM, GROUP)
            if any(one["name"] == self._name and one["pending"] == 0 for one in consumers):
                self._redis.xgroup_delconsumer(STREAM, GROUP, self._name)
        except RedisError as error:
            log.warning("the group was left without a word: %s", error)

    def _read(self) -> list:
        answer = self._redis.xreadgroup(GROUP, self._name, {STREAM: ">"}, count=100, block=WAIT)
        return answer[0][1] if answer else []

    def _claim_abandoned(self) -> None:
        if time.monotonic() < self._next_claim:
            return
        claimed = self._redis.xautoclaim(STREAM, GROUP, self._name, min_idle_time=ABANDONED)
        self._count(claimed[1])
        self._next_claim = time.monotonic() + ABANDONED / 1000

    def _count(self, events: list) -> None:
        for number, fields in events:
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.incr(TOTAL)
            pipeline.hincrby(BY_TYPE, fields.get("type", "unknown"), 1)
            pipeline.xack(STREAM, GROUP, number)
            pipeline.execute()
