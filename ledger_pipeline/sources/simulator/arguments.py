"""What a query asks of a list, read from GraphQL arguments: which page, which filters, which order."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ledger_pipeline.sources.simulator.errors import GitHubError
from ledger_pipeline.sources.simulator.paging import PageRequest
from ledger_pipeline.sources.simulator.view import ListOptions

Arguments = Mapping[str, Any]


def page_request(arguments: Arguments) -> PageRequest:
    """Which page."""
    get = arguments.get
    return PageRequest(first=get("first"), last=get("last"), after=get("after"), before=get("before"))


def list_options(arguments: Arguments) -> ListOptions:
    """Which items of `pullRequests` or `issues`; GitHub sorts by creation unless told otherwise."""
    order, filters = arguments.get("orderBy") or {}, arguments.get("filterBy") or {}
    since = filters.get("since")
    return ListOptions(
        by_updated_at=order.get("field") == "UPDATED_AT",
        states=_either(arguments.get("states"), filters.get("states")),
        labels=_either(arguments.get("labels"), filters.get("labels")),
        since=None if since is None else _instant(since),
        base_ref_name=arguments.get("baseRefName"),
    )


def is_descending(arguments: Arguments) -> bool:
    """Whether the list is to be read from its end."""
    return (arguments.get("orderBy") or {}).get("direction") == "DESC"


def _either(*lists: list[str] | None) -> frozenset[str] | None:
    return next((frozenset(names) for names in lists if names is not None), None)


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise GitHubError("argumentLiteralsIncompatible", f"{text!r} is not a valid DateTime.") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
