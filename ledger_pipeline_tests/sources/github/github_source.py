"""GitHubSource on a simulator, impatient: no retries and no waiting, so that a fault shows at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.settings_credentials import GitHubTokens
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.source import GitHubSource
from ledger_pipeline.sources.port import ScanPage, ScanRequest
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline_tests.sources.simulator.worlds import NAME


@contextmanager
def github_source(
    url: str,
    page_size: int = 100,
    retries: int = 0,
    *,
    max_wait_seconds: int = 0,
    timeout_seconds: int = 10,
    stop: StopSignal | None = None,
) -> Iterator[GitHubSource]:
    client = GitHubClient(
        api_url=url,
        credentials=GitHubTokens.of("t"),
        timeout_seconds=timeout_seconds,
        max_wait_seconds=max_wait_seconds,
        retries=retries,
        stop=stop,
        clock_tolerance_seconds=ANY_CLOCK_SECONDS,
    )
    try:
        yield GitHubSource(client, page_size)
    finally:
        client.close()


def scan(
    url: str,
    floor: datetime,
    *,
    source_scope: str = NAME,
    streams: Sequence[str] = GITHUB_STREAMS,
    page_size: int = 100,
) -> list[ScanPage]:
    """All pages of one scan."""
    with github_source(url, page_size) as source:
        return list(source.scan(ScanRequest(source_scope, dict.fromkeys(streams, floor))))


def scan_on(url: str, request: ScanRequest, page_size: int = 100) -> list[ScanPage]:
    """All pages of a scan that goes on from the request's position."""
    with github_source(url, page_size) as source:
        return list(source.scan(request))


def event_ids(pages: Sequence[ScanPage]) -> list[str]:
    """The ids of all events, sorted; an id seen twice stands twice."""
    return sorted(event.id for page in pages for event in page.events)
