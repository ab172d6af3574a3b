"""Answers that are complete HTTP and JSON, and still not what was asked for."""

from collections.abc import Callable, Iterator
from typing import Any

from ledger_pipeline.sources.simulator.faults import (
    BadItem,
    Forbidden,
    ForbiddenField,
    HeavyItem,
    NullItem,
    NullNode,
    Odd,
    OddField,
    PartialErrors,
    ShortPage,
)

Payload = dict[str, Any]
Path = tuple[str | int, ...]

_LIGHT = frozenset({"number", "createdAt", "updatedAt"})
_OF_STREAM = {"pullRequests": ("pullRequests", "pullRequest"), "issues": ("issues", "allIssues", "issue")}


def spoil(payload: Payload, fault: Odd) -> None:
    """Change an answer in place, as the fault says."""
    match fault:
        case PartialErrors():
            _add_error(payload, fault.type, fault.message, ())
        case NullNode():
            path = _take_node(payload.get("data"), fault, ())
            if path is not None and fault.with_error:
                _add_error(payload, "FORBIDDEN", "Resource not accessible by integration", path)
        case ShortPage():
            for connection in list(_pages(payload.get("data"), fault.connection)):
                del connection["nodes"][fault.keep :]
                connection["pageInfo"]["hasNextPage"] &= fault.says_more
        case NullItem():
            least = frozenset[str]() if fault.is_unlisted else _LIGHT
            for _, replace in list(_whole(payload.get("data"), fault.number, least)):
                replace(None)
        case OddField():
            for node, _ in list(_whole(payload.get("data"), fault.number)):
                _set(node, fault.field.split("."), fault.value)
        case Forbidden():
            _forbid(payload, fault)
        case ForbiddenField():
            for holder, place, path in list(_fields(payload.get("data"), fault.field, ())):
                _add_error(payload, fault.type, "Resource not accessible by personal access token", path)
                if fault.bubbles:
                    _take_out(payload["data"], path[:-1])
                else:
                    holder[place] = None


def is_too_heavy(payload: Payload, fault: HeavyItem) -> bool:
    """Whether GitHub would give up on the query that is answered so."""
    least = frozenset[str]() if fault.is_unlisted else _LIGHT
    for node, _ in _whole(payload.get("data"), fault.number, least):
        reviews = (node.get("reviews") or {}).get("nodes") or []
        if fault.reviews_over is None or len(reviews) > fault.reviews_over:
            return True
    return False


def holds(payload: Payload, fault: BadItem) -> bool:
    """Whether the answer holds what is bad."""
    for node, _ in _whole(payload.get("data"), fault.number):
        reviews = (node.get("reviews") or {}).get("nodes") or []
        if fault.review is None or any(review["fullDatabaseId"] == fault.review for review in reviews):
            return True
    return False


def _whole(value: Any, number: int, light: frozenset[str] = _LIGHT) -> Iterator[tuple[Payload, Callable[[Any], None]]]:
    """Every node of that number that holds more than `light`, and what puts another in its place."""
    places: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in places:
        if isinstance(inner, dict) and inner.get("number") == number and inner.keys() - light:
            yield inner, lambda new, key=key: value.__setitem__(key, new)  # type: ignore[misc]
        yield from _whole(inner, number, light)


def _pages(value: Any, name: str) -> Iterator[Payload]:
    """Every page of a connection of that name; a head, which says nothing of pages, is none."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == name and isinstance(inner, dict) and "pageInfo" in inner:
            yield inner
        yield from _pages(inner, name)


def _set(node: Any, path: list[str], value: object) -> None:
    for step in path[:-1]:
        inner = node[int(step)] if isinstance(node, list) and int(step) < len(node) else None
        node = node.get(step) if isinstance(node, dict) else inner
    if isinstance(node, dict) and path[-1] in node:
        node[path[-1]] = value


def _forbid(payload: Payload, fault: Forbidden) -> None:
    repository = (payload.get("data") or {}).get("repository") or {}
    asked_for = [name for name in _OF_STREAM[fault.connection] if name in repository]
    for name in asked_for:
        _add_error(payload, "FORBIDDEN", "Resource not accessible by personal access token", ("repository", name))
    if asked_for:
        payload["data"]["repository"] = None


def _fields(value: Any, name: str, path: Path) -> Iterator[tuple[Payload, str, Path]]:
    """Every object that has a field of that name, the name, and the path to the field."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == name:
            yield value, name, (*path, key)
        else:
            yield from _fields(inner, name, (*path, key))


def _take_out(value: Any, path: Path) -> None:
    *parents, last = path
    for step in parents:
        value = value[step]
    value[last] = None


def _take_node(value: Any, fault: NullNode, path: Path) -> Path | None:
    """Make the node null and say where it was; None where the answer has no such node."""
    if isinstance(value, dict):
        nodes = (value.get(fault.connection) or {}).get("nodes")
        if isinstance(nodes, list) and fault.index < len(nodes):
            nodes[fault.index] = None
            return (*path, fault.connection, "nodes", fault.index)
        inner: Any = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        return None
    places = (_take_node(child, fault, (*path, key)) for key, child in inner)
    return next((place for place in places if place is not None), None)


def _add_error(payload: Payload, type_: str | None, message: str, path: Path) -> None:
    error: Payload = {"message": message}
    if type_ is not None:
        error = {"type": type_, **error}
    if path:
        error["path"] = list(path)
    payload.setdefault("errors", []).append(error)
