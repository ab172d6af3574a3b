"""GitHub as an ActivitySource."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.events import GITHUB, GITHUB_STREAMS, ISSUES, PULL_REQUESTS
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.github.capabilities import lacking_fields
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.heads import read_heads
from ledger_pipeline.sources.github.queries import COUNTS
from ledger_pipeline.sources.github.scan import Scan
from ledger_pipeline.sources.port import Heads, ScanPage, ScanRequest
from ledger_pipeline.sources.stopping import StopSignal


class GitHubSource:
    """Reads repositories through `client`, up to `page_size` items a page (1 to 100). Safe to use from several threads.

    One scan serves pull requests, reviews and issues of a repository.
    """

    name = GITHUB
    producer = "ledger-pipeline/github"
    producer_version = version("ledger-pipeline")
    streams: tuple[str, ...] = GITHUB_STREAMS

    def __init__(self, client: GitHubClient, page_size: int = 100) -> None:
        self._client = client
        self.page_size = page_size

    def heads(self, source_scopes: Sequence[str]) -> Heads:
        """The newest updates of many repositories, as `ActivitySource.heads` promises; a hundred to a request.

        Reviews have the newest update of pull requests, which a review moves, and no total.
        """
        return read_heads(self._client, source_scopes)

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        """Every update of the repository since the request's floors, as `ActivitySource.scan` promises.

        A position that GitHub no longer accepts begins the scan again from the front.
        """
        return Scan(self._client, request, self.page_size).pages()

    def lacking_fields(self, source_scope: str) -> list[str]:
        """The fields that a scan asks for and this server does not have, as `Issue.fullDatabaseId`; one request."""
        return lacking_fields(self._client, source_scope)

    def count_events(self, source_scope: str, window: EpochWindow) -> Mapping[str, int]:
        """Merged pull requests and closed issues in `window` by GitHub's search, whoever their author is.

        GitHub cannot count reviews.
        """
        found = self._counts(source_scope, source_scope, window)
        name = found["repository"]["nameWithOwner"]
        if name.lower() != source_scope.lower():
            # Search knows a renamed repository by its new name only, and counts 0 under the old one.
            found = self._counts(source_scope, name, window)
        return {PULL_REQUESTS: found["merged"]["issueCount"], ISSUES: found["closed"]["issueCount"]}

    def _counts(self, source_scope: str, repo: str, window: EpochWindow) -> dict[str, Any]:
        owner, _, name = repo.partition("/")
        # GitHub's ranges include their last second, windows do not include their end.
        span = f"{_search_time(window.start)}..{_search_time(window.end - timedelta(seconds=1))}"
        variables = {
            "owner": owner,
            "name": name,
            "merged": f"repo:{repo} is:pr is:merged merged:{span}",
            "closed": f"repo:{repo} is:issue is:closed closed:{span}",
        }
        data = self._client.query(source_scope, COUNTS, variables).data
        if any(data.get(field) is None for field in ("repository", "merged", "closed")):
            raise SourceUnavailable(GITHUB, source_scope, "GitHub's search answers null instead of a count")
        return data


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


def _search_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
