"""What Kubernetes asks: is the process alive, and can it do its work?"""

from flask import Blueprint, Response, jsonify

from .database import Database


def routes(database: Database) -> Blueprint:
    """Routes for the probes."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def alive() -> Response:
        # Without PostgreSQL a restart would not help: only readiness asks for it.
        return jsonify(status="ok")

    @health.get("/readyz")
    def ready() -> Response:
        with database.transaction() as connection:
            connection.execute("SELECT 1")
        return jsonify(status="ready")

    return health
