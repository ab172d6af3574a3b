"""Answers that are complete HTTP and JSON, and still not what was asked for."""

from typing import Any

from ledger_pipeline.sources.simulator.faults import NullNode, PartialErrors

Payload = dict[str, Any]
Path = tuple[str | int, ...]


def spoil(payload: Payload, fault: NullNode | PartialErrors) -> None:
    """Change an answer in place, as the fault says."""
    if isinstance(fault, PartialErrors):
        _add_error(payload, fault.type, fault.message, ())
        return
    path = _take_node(payload.get("data"), fault, ())
    if path is not None and fault.with_error:
        _add_error(payload, "FORBIDDEN", "Resource not accessible by integration", path)


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
    found = (_take_node(each, fault, (*path, key)) for key, each in inner)
    return next((place for place in found if place is not None), None)


def _add_error(payload: Payload, type_: str | None, message: str, path: Path) -> None:
    error: Payload = {"message": message}
    if type_ is not None:
        error = {"type": type_, **error}
    if path:
        error["path"] = list(path)
    payload.setdefault("errors", []).append(error)
