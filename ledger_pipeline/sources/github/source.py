"""GitHub as an ActivitySource."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from ledger_pipeline.core.sources import GITHUB, GITHUB_STREAMS, source_kind
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.github.capabilities import ServerSchema, lacking_fields
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.counts import read_counts
from ledger_pipeline.sources.github.facts_reader import FactsReader
from ledger_pipeline.sources.github.heads import read_heads
from ledger_pipeline.sources.github.owners import read_owner
from ledger_pipeline.sources.github.repository_scan import RepositoryScan
from ledger_pipeline.sources.port import FactsPage, Heads, ItemKey, OwnedSourceScopes, ScanPage, ScanRequest
from ledger_pipeline.sources.stopping import StopSignal


class GitHubSource:
    """Reads repositories through `client`, up to `page_size` items a page (1 to 100). Safe to use from several threads.

    One scan serves pull requests, reviews and issues of a repository.
    """

    name = GITHUB
    producer = source_kind(GITHUB).producer
    producer_version = version("ledger-pipeline")
    streams: tuple[str, ...] = GITHUB_STREAMS

    def __init__(self, client: GitHubClient, page_size: int = 100) -> None:
        self._client = client
        self._schema = ServerSchema()
        self.page_size = page_size

    def heads(self, source_scopes: Sequence[str]) -> Heads:
        """The newest updates of many repositories, as `ActivitySource.heads` promises; a hundred to a request.

        Reviews have the newest update of pull requests, which a review moves, and no total.
        """
        return read_heads(self._client, source_scopes)

    def list_owner(self, owner_ref: str) -> OwnedSourceScopes:
        """The repositories of a user or an organization, as `ListsOwners` promises; 100 to a request."""
        return read_owner(self._client, owner_ref)

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        """Every update of the repository since the request's floors, as `ActivitySource.scan` promises.

        A position that GitHub no longer accepts begins the scan again from the front.
        """
        return RepositoryScan(self._client, request, self.page_size, self._schema).pages()

    def facts_of(self, source_scope: str, keys: Sequence[ItemKey], *, tells_paths: bool = False) -> Iterator[FactsPage]:
        """What is to be said of these items' events, as `TellsFacts` promises."""
        reader = FactsReader(self._client, source_scope, self._schema, self.page_size, tells_paths=tells_paths)
        return reader.pages(keys)

    def lacking_fields(self, source_scope: str) -> list[str]:
        """The fields that a scan asks for and this server does not have, as `Issue.fullDatabaseId`; one request."""
        return lacking_fields(self._client, source_scope)

    def count_events(
        self, source_scope: str, windows: Sequence[EpochWindow]
    ) -> Mapping[EpochWindow, Mapping[str, int]]:
        """Merged pull requests and closed issues in `windows` by GitHub's search, whoever their author is.

        GitHub cannot count reviews.
        """
        return read_counts(self._client, source_scope, windows)


@contextmanager
def open_github(
    settings: Settings, page_size: int | None = None, stop: StopSignal | None = None
) -> Iterator[GitHubSource]:
    """GitHub as `settings` say, its connections given back at the end; pages of `page_size` where that is smaller.

    Asks nothing of GitHub yet, and nothing any more once `stop` is told. Raises SettingsError without credentials, or
    with contradictory ones.
    """
    client = GitHubClient(
        api_url=settings.github_api_url,
        credentials=settings.github_credentials(),
        timeout_seconds=settings.github_timeout_seconds,
        max_wait_seconds=settings.github_max_wait_seconds,
        retries=settings.github_retries,
        points_reserve=settings.github_points_reserve,
        clock_tolerance_seconds=settings.github_clock_tolerance_seconds,
        stop=stop,
    )
    try:
        yield GitHubSource(client, min(page_size or settings.github_page_size, settings.github_page_size))
    finally:
        client.close()
