"""What GitHub's search counts in many windows of one repository, several windows to a request."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.events import GITHUB, ISSUES, PULL_REQUESTS
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.sources.github.client import GitHubClient, QueryTooHeavyError
from ledger_pipeline.sources.github.queries import counts_query

# Two searches a window: fifty are one point, and GitHub counts each without listing anything.
WINDOWS_PER_QUERY = 25


def read_counts(
    client: GitHubClient, source_scope: str, windows: Sequence[EpochWindow]
) -> dict[EpochWindow, Mapping[str, int]]:
    """Merged pull requests and closed issues of each of `windows`: a request for every WINDOWS_PER_QUERY of them.

    Asks for fewer at once where GitHub finds the query too heavy; raises SourceError where one window alone is.
    """
    counts: dict[EpochWindow, Mapping[str, int]] = {}
    name, size, start = source_scope, WINDOWS_PER_QUERY, 0
    while start < len(windows):
        asked = windows[start : start + size]
        try:
            answer = _ask(client, source_scope, name, asked)
        except QueryTooHeavyError:
            if len(asked) == 1:
                raise
            size = len(asked) // 2
            continue
        name_now = answer["repository"]["nameWithOwner"]
        if name_now.lower() != name.lower():
            # Search knows a renamed repository by its new name only, and counts 0 under the old one.
            name = name_now
            continue
        for n, window in enumerate(asked):
            counts[window] = {
                PULL_REQUESTS: answer[f"m{n}"]["issueCount"],
                ISSUES: answer[f"c{n}"]["issueCount"],
            }
        start += len(asked)
    return counts


def _ask(client: GitHubClient, source_scope: str, repo: str, windows: Sequence[EpochWindow]) -> dict[str, Any]:
    owner, _, name = source_scope.partition("/")
    variables = {"owner": owner, "name": name}
    for n, window in enumerate(windows):
        # GitHub's ranges include their last second, windows do not include their end.
        span = f"{_search_time(window.start)}..{_search_time(window.end - timedelta(seconds=1))}"
        variables[f"m{n}"] = f"repo:{repo} is:pr is:merged merged:{span}"
        variables[f"c{n}"] = f"repo:{repo} is:issue is:closed closed:{span}"
    answer = client.query(source_scope, counts_query(len(windows)), variables).data
    wanted = ("repository", *(f"{letter}{n}" for n in range(len(windows)) for letter in "mc"))
    if any(answer.get(field) is None for field in wanted):
        raise SourceUnavailable(GITHUB, source_scope, "GitHub's search answers null instead of a count")
    return answer


def _search_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
