"""Answers that may be kept: each has an entity tag, and whoever has it already is told that nothing changed."""

import json
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response
from starlette.status import HTTP_200_OK, HTTP_304_NOT_MODIFIED

# How long anybody may show an answer without asking again: a new statement is there after that.
KEPT_SECONDS = 60
CACHEABLE = f"public, max-age={KEPT_SECONDS}"
FOREVER = "public, max-age=31536000, immutable"
HTML, JSON = "text/html; charset=utf-8", "application/json"


class Problem(Exception):
    """What is wrong with what was asked, in one sentence for people, and the status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def answer(request: Request, body: bytes, media_type: str, cache_control: str = CACHEABLE) -> Response:
    """`body`, or that it is what the asking one has already."""
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": cache_control}
    if _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(body, HTTP_200_OK, headers, media_type)


def json_answer(request: Request, content: object, status: int = HTTP_200_OK) -> Response:
    """`content` as JSON: cacheable where it is what was asked for."""
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    if status != HTTP_200_OK:
        return Response(body, status, {"cache-control": "no-store"}, JSON)
    return answer(request, body, JSON)


def _has(if_none_match: str, tag: str) -> bool:
    """Weak tags are as good: what is compared is the same bytes."""
    tags = [given.strip().removeprefix("W/") for given in if_none_match.split(",")]
    return tag in tags or tags == ["*"]
