"""Steps towards a task, suggested by a language model. Without an OpenAI key the rest of the application works as ever."""

import json
import logging
import os
import urllib.request
from typing import Any

from flask import Blueprint, Response, abort, jsonify

from .tasks import body, valid_title

SECONDS = 20

log = logging.getLogger(__name__)


def ask(key: str, title: str) -> list[str]:
    """Ask the model for up to five steps. Raises OSError, or ValueError and the like when the answer is not as agreed."""
    question = {
        "model": os.environ.get("OPENAI_MODEL", "gpt-4o-mini"),
        "response_format": {"type": "json_object"},
        "messages": [
            {"role": "system", "content": 'Split the task into at most five short steps. Answer as {"steps": ["…"]}.'},
            {"role": "user", "content": title},
        ],
    }
    request = urllib.request.Request(
        os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1") + "/chat/completions",
        data=json.dumps(question).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        answer: dict[str, Any] = json.load(response)
    steps = json.loads(answer["choices"][0]["message"]["content"])["steps"]
    return [str(step) for step in steps][:5]


def routes(key: str) -> Blueprint:
    """Routes of suggestions; they are off without a key."""
    suggestions = Blueprint("suggestions", __name__, url_prefix="/api")

    @suggestions.get("/features")
    def features() -> Response:
        return jsonify(suggestions=bool(key))

    @suggestions.post("/suggestions")
    def suggest() -> Response:
        title = valid_title(body().get("title"))
        if not key:
            abort(503, "suggestions are off: no OpenAI key was given")
        try:
            return jsonify(steps=ask(key, title))
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("no suggestions: %s", error)
            abort(502, "the language model did not answer")

    return suggestions
