"""Errors as JSON, so that a client reads one format."""

import logging

from flask import Flask, Response, jsonify
from psycopg import OperationalError
from psycopg_pool import PoolTimeout
from werkzeug.exceptions import HTTPException

log = logging.getLogger(__name__)


def answer_errors_as_json(app: Flask) -> None:
    """Answer `{"error": …}` for whatever goes wrong."""

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code or 500

    @app.errorhandler(PoolTimeout)
    @app.errorhandler(OperationalError)
    def no_database(error: Exception) -> tuple[Response, int]:
        log.error("PostgreSQL is not available: %s", error)
        return jsonify(error="the database is not available"), 503
