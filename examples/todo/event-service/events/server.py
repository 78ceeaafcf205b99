"""The HTTP routes: counts, the latest events, and the probes."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from redis import Redis, RedisError

from .consumer import BY_TYPE, STREAM, TOTAL, Consumer

log = logging.getLogger(__name__)


def count(redis: Redis, query: dict[str, list[str]]) -> dict:
    """Return how many events were counted, and with `?after=N` whether that is more than N."""
    total, by_type = redis.pipeline().get(TOTAL).hgetall(BY_TYPE).execute()
    answer: dict = {"total": int(total or 0), "by_type": {kind: int(number) for kind, number in sorted(by_type.items())}}
    if "after" in query:
        answer["risen"] = answer["total"] > int(query["after"][0])
    return answer


def recent(redis: Redis, _: dict[str, list[str]]) -> dict:
    """Return the latest events, newest first."""
    return {"events": [fields for _, fields in redis.xrevrange(STREAM, count=20)]}


ROUTES = {"/api/events/count": count, "/api/events/recent": recent}


def handler(redis: Redis, consumer: Consumer) -> type[BaseHTTPRequestHandler]:
    """Build the request handler around its two sources."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # noqa: N802, the name is the base class's
            """Answer with JSON, whatever happens."""
            status, answer = self.reply()
            content = json.dumps(answer).encode() + b"\n"
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def reply(self) -> tuple[int, dict]:
            """Return status and answer."""
            url = urlsplit(self.path)
            try:
                if url.path == "/healthz":
                    return (200, {"status": "ok"}) if consumer.alive() else (500, {"error": "the consumer is stuck"})
                if url.path == "/readyz":
                    redis.ping()
                    return 200, {"status": "ready"}
                if url.path in ROUTES:
                    return 200, ROUTES[url.path](redis, parse_qs(url.query))
                return 404, {"error": "there is nothing here"}
            except ValueError:
                return 422, {"error": "after must be a number"}
            except RedisError as error:
                log.warning("%s: Redis is not available: %s", url.path, error)
                return 503, {"error": "Redis is not available"}

        def log_message(self, template: str, *values: object) -> None:
            """Keep the probes out of the log; the frontend logs requests."""
            log.debug(template, *values)

    return Handler


def serve(address: tuple[str, int], redis: Redis, consumer: Consumer, stop: threading.Event) -> None:
    """Serve until told to stop."""
    server = ThreadingHTTPServer(address, handler(redis, consumer))
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    stop.wait()
    server.shutdown()
