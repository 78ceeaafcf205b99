"""Connections to PostgreSQL, and the schema."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title      text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    done       boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS outbox (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type text NOT NULL,
    task uuid NOT NULL,
    at   timestamptz NOT NULL DEFAULT now()
);
"""
SCHEMA_LOCK = 20_250_601  # any number that all replicas agree on


class Database:
    """A pool of connections that survives a restart of PostgreSQL; the schema is made at the first connection."""

    def __init__(self, url: str) -> None:
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=8,
            timeout=2,
            open=True,
            check=ConnectionPool.check_connection,
            kwargs={"row_factory": dict_row, "connect_timeout": 2},
        )
        self._schema_made = False
        self._schema_guard = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Give a connection whose work is committed at the end, or rolled back by an exception."""
        with self._pool.connection() as connection:
            self._make_schema(connection)
            with connection.transaction():
                yield connection

    def _make_schema(self, connection: Connection) -> None:
        """Create the tables once, one replica at a time."""
        if self._schema_made:
            return
        with self._schema_guard, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
            connection.execute(SCHEMA)
        self._schema_made = True
