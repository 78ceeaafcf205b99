"""The routes of tasks."""

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, abort, jsonify, request, url_for

from .cache import Cache
from .database import Database
from .outbox import Outbox

COLUMNS = """id::text, title, done, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at"""
LONGEST_TITLE = 200


def body() -> dict[str, Any]:
    """Return the request's JSON object, or refuse the request."""
    content = request.get_json(silent=True)
    if not isinstance(content, dict):
        abort(400, "send a JSON object")
    return content


def valid_title(value: Any) -> str:
    """Return a title without surrounding blanks, or refuse the request."""
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= LONGEST_TITLE:
        abort(422, f"title must be a text of 1 to {LONGEST_TITLE} characters")
    return value.strip()


def valid_change(content: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that a PATCH sets, or refuse the request."""
    unknown = content.keys() - {"title", "done"}
    if unknown or not content:
        abort(422, "give title, done or both" + (f"; unknown: {', '.join(sorted(unknown))}" if unknown else ""))
    change = dict(content)
    if "title" in change:
        change["title"] = valid_title(change["title"])
    if not isinstance(change.get("done", False), bool):
        abort(422, "done must be true or false")
    return change


def routes(database: Database, cache: Cache, outbox: Outbox) -> Blueprint:
    """Routes below /api/tasks."""
    tasks = Blueprint("tasks", __name__, url_prefix="/api/tasks")

    def load() -> list[dict[str, Any]]:
        with database.transaction() as connection:
            return connection.execute(f"SELECT {COLUMNS} FROM tasks ORDER BY created_at DESC, id LIMIT 500").fetchall()

    def changed() -> None:
        cache.forget()
        outbox.empty()

    @tasks.get("")
    def show_all() -> Response:
        return jsonify(cache.tasks(load))

    @tasks.post("")
    def create() -> tuple[Response, int, dict[str, str]]:
        title = valid_title(body().get("title"))
        with database.transaction() as connection:
            task = connection.execute(f"INSERT INTO tasks (title) VALUES (%s) RETURNING {COLUMNS}", (title,)).fetchone()
            outbox.add(connection, "created", task["id"])
        changed()
        return jsonify(task), 201, {"Location": url_for("tasks.show", task_id=task["id"])}

    @tasks.get("/<uuid:task_id>")
    def show(task_id: UUID) -> Response:
        with database.transaction() as connection:
            task = connection.execute(f"SELECT {COLUMNS} FROM tasks WHERE id = %s", (task_id,)).fetchone()
        return jsonify(task or abort(404, "there is no such task"))

    @tasks.patch("/<uuid:task_id>")
    def change(task_id: UUID) -> Response:
        new = valid_change(body())
        with database.transaction() as connection:
            task = connection.execute(
                f"""UPDATE tasks SET title = coalesce(%s, title), done = coalesce(%s, done)
                    WHERE id = %s RETURNING {COLUMNS}""",
                (new.get("title"), new.get("done"), task_id),
            ).fetchone()
            if task is None:
                abort(404, "there is no such task")
            outbox.add(connection, "changed", task["id"])
        changed()
        return jsonify(task)

    @tasks.delete("/<uuid:task_id>")
    def delete(task_id: UUID) -> tuple[str, int]:
        with database.transaction() as connection:
            if connection.execute("DELETE FROM tasks WHERE id = %s", (task_id,)).rowcount == 0:
                abort(404, "there is no such task")
            outbox.add(connection, "deleted", str(task_id))
        changed()
        return "", 204

    return tasks
