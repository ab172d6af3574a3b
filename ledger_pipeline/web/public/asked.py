"""What a request asks for: each part is read here, and what is wrong with it is said in one sentence."""

import re
from typing import cast

from starlette.requests import Request
from starlette.status import HTTP_400_BAD_REQUEST, HTTP_404_NOT_FOUND

from ledger_pipeline.core.claimants import is_account_key
from ledger_pipeline.core.errors import UnknownScope
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.publication import Publication, PublishedEpoch
from ledger_pipeline.web.public.answers import Problem
from ledger_pipeline.web.public.shelf import Shelf

PAGE_ROWS = 50
_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


def shelf_of(request: Request) -> Shelf:
    """What the application serves."""
    return cast(Shelf, request.app.state.shelf)


def scope_asked(request: Request) -> Scope:
    """The scope of `?scope=`, else the repo-spec's own. Raises Problem for one there is not."""
    spec = shelf_of(request).spec
    scope_key = request.query_params.get("scope")
    if scope_key is None:
        return spec.default_scope
    try:
        return spec.scope(scope_key)
    except UnknownScope:
        there = ", ".join(scope.scope_key for scope in spec.scopes)
        raise Problem(HTTP_404_NOT_FOUND, f"There is no such scope: the scopes are {there}.") from None


def epoch_asked(request: Request) -> tuple[Publication, PublishedEpoch]:
    """The finalized epoch that the path names. Raises Problem where there is none: whether one runs is not said."""
    there = shelf_of(request).epoch(epoch_id_asked(request))
    if there is None:
        raise Problem(HTTP_404_NOT_FOUND, "No finalized epoch has this number.")
    return there


def epoch_id_asked(request: Request) -> int:
    """The number in the path; 0, which no epoch has, for what is none."""
    given = request.path_params["epoch_id"]
    return int(given) if _WHOLE.fullmatch(given) else 0


def claimant_asked(request: Request) -> str:
    """The claimant whose key is in the path, as the signed hash names them. Raises Problem for what is no key."""
    key = str(request.path_params["claimant"])
    claimant = key.removeprefix("user:")
    if (claimant == key and not is_account_key(key)) or not claimant or not claimant.isprintable():
        raise Problem(HTTP_404_NOT_FOUND, "Contributors are user:NAME or identity:SOURCE:ACCOUNT.")
    return claimant


def whole_number(request: Request, name: str, default: int, *, least: int, most: int | None = None) -> int:
    """The number in the query, `default` where there is none. Raises Problem saying what it may be."""
    given = request.query_params.getlist(name)
    if not given:
        return default
    number = int(given[0]) if len(given) == 1 and _WHOLE.fullmatch(given[0]) else None
    if number is None or number < least or (most is not None and number > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise Problem(HTTP_400_BAD_REQUEST, f"{name} must be a whole number {bounds}, given once.")
    return number


class PageOf:
    """A page of `total` rows, by the query's `page`. Raises Problem for one behind the last."""

    def __init__(self, request: Request, total: int) -> None:
        self.number = whole_number(request, "page", 1, least=1)
        self.last = max(1, -(-total // PAGE_ROWS))
        self.total = total
        if self.number > self.last:
            raise Problem(HTTP_404_NOT_FOUND, f"There is no page {self.number}: the last is {self.last}.")
        self.start = (self.number - 1) * PAGE_ROWS
        self.stop = min(total, self.start + PAGE_ROWS)
        kept = [(name, value) for name, value in request.query_params.multi_items() if name == "scope"]
        self._scope = f"&scope={kept[0][1]}" if kept else ""

    def link(self, number: int) -> str:
        """The query of another page of the same rows."""
        return f"?page={number}{self._scope}"
