"""The tasks API: PostgreSQL holds the tasks, Redis caches the list and carries events to whoever wants to know."""

import logging
import os

from flask import Flask

from . import health, suggestions, tasks
from .cache import Cache
from .database import Database
from .errors import answer_errors_as_json
from .outbox import Outbox
from .redis_client import connect


def create_app() -> Flask:
    """Build the application from its environment: DATABASE_URL, REDIS_HOST, REDIS_PORT, REDIS_PASSWORD, OPENAI_API_KEY."""
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    database = Database(os.environ["DATABASE_URL"])
    redis = connect()
    outbox = Outbox(database, redis)
    outbox.keep_emptying()

    app = Flask(__name__)
    app.json.sort_keys = False
    answer_errors_as_json(app)
    app.register_blueprint(health.routes(database))
    app.register_blueprint(tasks.routes(database, Cache(redis), outbox))
    app.register_blueprint(suggestions.routes(os.environ.get("OPENAI_API_KEY", "")))
    return app
