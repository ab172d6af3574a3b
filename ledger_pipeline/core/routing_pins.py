"""What is pinned of claims when an epoch closes: rules and names in its spec, and the hash of what they come to.

What the scope has of each event is many rows: they are kept beside the spec, and an archive has them as a file. An
epoch that closed before that has them in its spec.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.hashing import Json, canonical_json
from ledger_pipeline.core.routing import Claim, ClaimedRepository, RoutedBy, Routing, Share

_SHARES, _SHARES_HASH = "shares", "shares_hash"


def rules(routing: Routing) -> dict[str, Json]:
    """What the spec says, as JSON."""
    return {"scope": routing.scope_key, "repositories": _as_json(routing.repositories)}


def pinned(routing: Routing) -> dict[str, Json]:
    """What is pinned of it in an epoch's spec; what came of names only where any was renamed."""
    shares = routing.shares or {}
    of_events: dict[str, Json] = {_SHARES_HASH: shares_hash(shares)}
    if routing.is_of_before:
        of_events = {_SHARES: {event_id: [share.milli, share.reason] for event_id, share in shares.items()}}
    return {
        **rules(routing),
        **of_events,
        **({"names": dict(routing.names)} if routing.names else {}),
        **({} if routing.resolved is None else {"resolved": _as_json(routing.resolved)}),
    }


def shares_hash(shares: Mapping[str, Share]) -> str:
    """SHA-256 hex over a line for each share, by event id in code-point order.

    A line is the canonical JSON of event id, milli, reason and what it was routed by, and a line feed.
    """
    digest = sha256()
    for event_id, share in sorted(shares.items()):
        row: Json = [event_id, share.milli, share.reason, routed_by_json(share.routed_by or RoutedBy())]
        digest.update(canonical_json(row).encode() + b"\n")
    return digest.hexdigest()


def with_shares(routing: Routing, shares: Mapping[str, Share]) -> Routing:
    """What was pinned of a routing, with the `shares` kept beside it. Raises SelectionError where they are others."""
    if routing.is_of_before:
        return routing
    if shares_hash(shares) != routing.shares_hash:
        raise SelectionError("the parts of events that are kept are not those that the epoch closed with")
    return replace(routing, shares=dict(shares))


def routed_by_json(by: RoutedBy) -> dict[str, Json]:
    """As JSON; what is unknown is not there."""
    lists = {"labels": by.labels, "paths": by.paths, "repository": None if by.repository is None else (by.repository,)}
    return {name: list(texts) for name, texts in lists.items() if texts is not None}


def routed_by_from_json(value: Mapping[str, Any]) -> RoutedBy:
    """What `routed_by_json` wrote. Raises SelectionError for anything else: whoever may write may have kept it."""
    try:
        lists = {name: _texts(texts) for name, texts in value.items()}
        [repository] = lists.pop("repository", (None,))
        return RoutedBy(**{"labels": None, "paths": None, **lists}, repository=repository)
    except (TypeError, ValueError, AttributeError):
        raise SelectionError("what is kept of labels and paths that claims looked at is none") from None


def _as_json(repositories: Iterable[ClaimedRepository]) -> dict[str, Json]:
    return {
        claimed.name: {
            "claims": [
                {
                    "scope": claim.scope_key,
                    "paths": list(claim.paths),
                    "labels": list(claim.labels),
                    "order": claim.order,
                    "shared": claim.is_shared,
                }
                for claim in claimed.claims
            ],
            "rest": claimed.rest,
        }
        for claimed in repositories
    }


def pinned_routing(value: Any) -> Routing:
    """What was pinned of a routing, without shares that are kept beside it (`with_shares`).

    Raises SelectionError for what is none: whoever may write may have pinned it.
    """
    try:
        is_of_before = _SHARES_HASH not in value
        return Routing(
            _text(value["scope"]),
            _pinned_repositories(value["repositories"]),
            _pinned_shares(value[_SHARES]) if is_of_before else None,
            {_text(name): _text(latest) for name, latest in value.get("names", {}).items()},
            _pinned_repositories(value["resolved"]) if "resolved" in value else None,
            None if is_of_before else _text(value[_SHARES_HASH]),
            is_of_before,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SelectionError("what the epoch closed with of claims on repositories is none") from None


def _pinned_shares(value: Any) -> dict[str, Share]:
    return {_text(event_id): Share(_number(milli), _text(reason)) for event_id, (milli, reason) in value.items()}


def _pinned_repositories(value: Any) -> tuple[ClaimedRepository, ...]:
    return tuple(
        ClaimedRepository(
            _text(name),
            tuple(
                Claim(
                    _text(claim["scope"]),
                    tuple(map(_text, claim["paths"])),
                    tuple(map(_text, claim["labels"])),
                    _number(claim["order"]),
                    bool(claim["shared"]),
                )
                for claim in claimed["claims"]
            ),
            None if claimed["rest"] is None else _text(claimed["rest"]),
        )
        for name, claimed in value.items()
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(map(_text, value))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value
