"""All repositories of an owner, a hundred to a request."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.owners import ListedSourceScope, owner_of
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.sources.github.answer import Answer, QueryTooHeavyError
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.endless import Advance, LeadsNowhere
from ledger_pipeline.sources.github.meter import Meter
from ledger_pipeline.sources.github.payload_fields import Flag, Total
from ledger_pipeline.sources.github.payloads import Page, RepositoryAnswer, UnusablePayload, read
from ledger_pipeline.sources.github.queries import OWNER
from ledger_pipeline.sources.port import OwnedSourceScopes

REPOSITORIES_PER_PAGE = 100

# Where repositories come and go while they are listed, the list may hold fewer than it says.
LISTINGS = 3


class ListedRepository(RepositoryAnswer):
    """A repository as its owner's list has it."""

    is_archived: Flag
    is_fork: Flag


class Repositories(Page):
    """A page of an owner's list: every repository of it can be used, or none."""

    nodes: list[ListedRepository]
    total_count: Total


def read_owner(client: GitHubClient, owner_ref: str) -> OwnedSourceScopes:
    """Every repository of `owner_ref` (`acme/*`) that GitHub shows to these credentials.

    Raises SourceRefused where it shows no such owner, or nothing of it; SourceUnavailable where the list stays shorter
    than GitHub says it is.
    """
    meter = Meter()
    for _ in range(LISTINGS):
        listing = _Listing(client, owner_ref, meter)
        listing.read()
        if len(listing.repositories) >= listing.total:
            break
    else:
        problem = f"GitHub counts {listing.total} repositories, and lists {len(listing.repositories)}"
        raise SourceUnavailable(GITHUB, owner_ref, problem)
    if listing.began_at is None or not listing.repositories:
        raise SourceRefused(GITHUB, owner_ref, f"GitHub shows no repository of it to these credentials: {_ADVICE}")
    return OwnedSourceScopes(tuple(listing.repositories.values()), listing.began_at, meter.take())


_ADVICE = "check the name in source_refs, and what the token, or the App's installation, may read"


class _Listing:
    """One reading of an owner's list, the oldest repository first, so that one made meanwhile is at its end."""

    def __init__(self, client: GitHubClient, owner_ref: str, meter: Meter) -> None:
        self.repositories: dict[str, ListedSourceScope] = {}
        self.total = 0
        self.began_at: datetime | None = None
        self._client = client
        self._owner_ref = owner_ref
        self._meter = meter

    def read(self) -> None:
        advance, after, size = Advance("repositories"), None, REPOSITORIES_PER_PAGE
        while True:
            try:
                answer = self._ask({"login": owner_of(self._owner_ref), "first": size, "after": after})
            except QueryTooHeavyError:
                if size == 1:
                    raise
                size //= 2
                continue
            self.began_at = self.began_at or answer.server_time
            owner = answer.data.get("repositoryOwner")
            if not isinstance(owner, dict):
                problem = f"GitHub shows no such owner to these credentials: {_ADVICE}"
                raise SourceRefused(GITHUB, self._owner_ref, problem)
            try:
                page = read(Repositories, owner.get("repositories"), answer.date)
                advance.check([node.name_with_owner for node in page.nodes], page.page_info)
            except (UnusablePayload, LeadsNowhere) as error:
                problem = f"GitHub's list of its repositories cannot be used: {error}"
                raise SourceUnavailable(GITHUB, self._owner_ref, problem) from None
            self.total = page.total_count
            for node in page.nodes:
                self._add(node)
            if not page.page_info.has_next_page:
                return
            after = page.page_info.end_cursor

    def _ask(self, variables: Mapping[str, Any]) -> Answer:
        return self._meter.ask(self._client.query, self._owner_ref, OWNER, variables)

    def _add(self, node: ListedRepository) -> None:
        # The key is the name: one that is renamed while the list is read may come twice, and is read by both.
        name = node.name_with_owner
        if owner_of(name) != owner_of(self._owner_ref):
            problem = f"GitHub lists {name} among its repositories"
            raise SourceUnavailable(GITHUB, self._owner_ref, problem)
        self.repositories[name.casefold()] = ListedSourceScope(name, node.database_id, node.is_archived, node.is_fork)
