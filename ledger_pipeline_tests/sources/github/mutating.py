"""A GitHub that answers one repository oddly: each answer is a real one of the simulator, with something in it changed.

No change is a lie that nobody could tell from a real answer, such as an author that is null or a count of nothing:
whatever a change hides can be missed.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http.client import HTTPConnection
from random import Random
from typing import Any
from urllib.parse import urlsplit

from ledger_pipeline_tests.sources.github.canned import Asked, Respond, serving

# What JSON cannot be made to say by `json.dumps` stands in its text in the place of a marker.
_MARKED = {
    "@deep@": b"[" * 500 + b"]" * 500,
    "@deepest@": b'{"x":' * 50_000 + b"1" + b"}" * 50_000,
    "@digits@": b"9" * 5000,
    "@nan@": b"NaN",
}
_ODD: list[Any] = [
    None,
    True,
    False,
    -1,
    0,
    1.5,
    1e308,
    2**31,
    2**70,
    "",
    "\0",
    "a\0b",
    "\ud83d",
    "\x1b]0;x\x07\u202e",
    "x" * 20_000,
]
_ODD += ["9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "2026-02-18", {}, [None], [[]], ["x"]]
# The name of a repository that is another one.
_ODD += ["cogni-dao/healthy"]
_ODD += [[], {"nodes": None}, {"__typename": None}, {"totalCount": -1}, *_MARKED]
_ODD_HEADERS = ["-3", "nan", "inf", "1e30", "-1e18", "", "x", "9" * 400, "\xff\xfe", "0", "1e-400", "\t"]
_HEADERS = ["Date", "Age", "Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Limit", "X-RateLimit-Reset"]
_HEADERS += ["X-RateLimit-Resource", "Content-Type", "Content-Encoding", "X-OAuth-Scopes", "Location", "ETag"]
_BUDGET = ("x-ratelimit-limit", "x-ratelimit-reset", "x-ratelimit-resource")
_STATUSES = [201, 202, 204, 205, 206, 301, 302, 304, 307, 400, 401, 403, 404, 410, 418, 422, 429, 451, 500, 502, 503]
_STATUSES += [504, 599, 999]
_BODIES = [b"", b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"[]", b'"x"', b"<html>", b"9" * 5000, b'{"data":NaN}']
_BODIES += [b'{"data":{}}', b'{"data":null}', b'{"errors":[]}', b'{"errors":{"message":{}}}', b"\x1f\x8b", b"{}" * 999]
_TYPES = [None, "NOT_FOUND", "FORBIDDEN", "RATE_LIMITED", "INTERNAL", "TIMEOUT", "UNHEARD_OF", 5, [], {}]
_STEPS = [
    "repository",
    "pullRequests",
    "issues",
    "allIssues",
    "nodes",
    "reviews",
    "pullRequest",
    0,
    1,
    -1,
    99,
    None,
    {},
]

# The one value of these that nobody can tell from a real one.
_LIES: dict[str, Callable[[Any], bool]] = {
    "author": lambda value: value is None,
    **dict.fromkeys(["databaseId", "fullDatabaseId"], lambda value: value == 2**31),
    "totalCount": lambda value: value == 0,
    "__typename": lambda value: isinstance(value, str) and (value.startswith("@") or value.isidentifier()),
}


@dataclass(frozen=True)
class Served:
    """An answer as it goes over the wire. `length` is what it says its body has; None: as much as it has."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    length: int | None = None


@dataclass
class MutatingGitHub:
    """Stands before the simulator at `upstream`, whose world stays the same; `now` is its time.

    While it is given a `random`, it changes the answers to questions for `sick`, and those of which it is a part.
    """

    upstream: str
    sick: str
    now: datetime
    random: Random | None = None
    mutated: int = 0
    url: str = ""
    _real: dict[bytes, Served] = field(default_factory=dict)

    def respond(self, request: Asked) -> None:
        """Answer one question."""
        served = self._real_answer(request.asked)
        variables = json.loads(request.asked)["variables"]
        is_alone = variables.get("owner") is not None
        concerns = [name for name in _asked_for(variables) if name == self.sick]
        if self.random is not None and concerns:
            self.mutated += 1
            alias = None if is_alone else f"r{_asked_for(variables).index(self.sick)}"
            served = mutated(self.random, served, alias)
        _send(request, served)

    def _real_answer(self, asked: bytes) -> Served:
        served = self._real.get(asked)
        if served is None:
            place = urlsplit(self.upstream)
            connection = HTTPConnection(place.hostname or "", place.port)
            connection.request("POST", "/graphql", asked, {"Authorization": "Bearer t"})
            answer = connection.getresponse()
            kept = tuple((name, value) for name, value in answer.getheaders() if name.lower() in _BUDGET)
            # Whatever was asked before, so that one case does not depend on another.
            body = re.sub(rb'"remaining":\d+', b'"remaining":4000', answer.read())
            served = self._real[asked] = Served(answer.status, (*kept, ("X-RateLimit-Remaining", "4000")), body)
            connection.close()
        return Served(served.status, (("Date", format_datetime(self.now, usegmt=True)), *served.headers), served.body)


@contextmanager
def mutating(upstream: str, sick: str, now: datetime) -> Iterator[MutatingGitHub]:
    """Such a GitHub on a port of this machine."""
    github = MutatingGitHub(upstream, sick, now)
    answer: Respond = github.respond
    with serving(lambda: answer) as url:
        github.url = url
        yield github


def mutated(random: Random, served: Served, alias: str | None) -> Served:
    """`served` with something changed; of the values of an answer to many, only those below `alias`."""
    kind = random.random()
    if kind < 0.55:
        return _with_odd_values(random, served, alias)
    if kind < 0.65:
        return _with_errors(random, served)
    if kind < 0.75:
        headers = dict(served.headers)
        for name in random.sample(_HEADERS, random.randint(1, 3)):
            headers[name] = random.choice(_ODD_HEADERS)
        return Served(served.status, tuple(headers.items()), served.body)
    if kind < 0.85:
        body = random.choice([served.body, served.body, b"", *_BODIES])
        return Served(random.choice(_STATUSES), served.headers, body)
    if kind < 0.92:
        return Served(served.status, served.headers, random.choice(_BODIES))
    cut = random.randrange(len(served.body))
    if random.random() < 0.5:
        return Served(served.status, served.headers, served.body[:cut])
    # More than it says, which stays on the connection, or less.
    return Served(served.status, served.headers, served.body, random.choice([cut, 0, len(served.body) + 5]))


def _with_odd_values(random: Random, served: Served, alias: str | None) -> Served:
    payload = json.loads(served.body)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        where = payload.get("data") if isinstance(payload, dict) else None
        below = where.get(alias) if alias is not None and isinstance(where, dict) else payload
        places = list(_places(below))
        if not places:
            break
        parent, key = random.choice(places)
        if isinstance(parent, dict) and random.random() < 0.1:
            del parent[key]
            continue
        value = random.choice(_ODD)
        if not _LIES.get(str(key), lambda _: False)(value):
            parent[key] = value
    return Served(served.status, served.headers, _text_of(payload))


def _with_errors(random: Random, served: Served) -> Served:
    payload = json.loads(served.body)
    payload["errors"] = [
        {
            "type": random.choice(_TYPES),
            "message": random.choice(["Something went wrong", "no", "\x1b[2J" + "x" * 5000, None, 5]),
            "path": random.choice([None, "x", ["repository", *random.choices(_STEPS, k=random.randint(0, 4))]]),
        }
        for _ in range(random.choice([1, 1, 2, 40]))
    ]
    return Served(served.status, served.headers, _text_of(payload))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a payload: its container, and the key or index there."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


def _text_of(payload: object) -> bytes:
    body = json.dumps(payload).encode()
    for marker, text in _MARKED.items():
        body = body.replace(json.dumps(marker).encode(), text)
    return body


def _asked_for(variables: dict[str, Any]) -> list[str]:
    if "owner" in variables:
        return [f"{variables['owner']}/{variables['name']}"]
    return [f"{variables[f'o{n}']}/{variables[f'n{n}']}" for n in range(len(variables) // 2)]


def _send(request: Asked, served: Served) -> None:
    length = len(served.body) if served.length is None else served.length
    lines = [f"HTTP/1.1 {served.status} X", *(f"{name}: {value}" for name, value in served.headers)]
    lines.append(f"Content-Length: {length}")
    # In one go: a second packet would wait for the first one's acknowledgement.
    request.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + served.body)
    if length > len(served.body):
        request.close_connection = True
