"""What GitHub's search counts in many windows of one repository, several windows to a request."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ledger_pipeline.core.errors import SourceUnavailable
from ledger_pipeline.core.sources import GITHUB, ISSUES, PULL_REQUESTS
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.sources.github.answer import QueryTooHeavyError
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.payloads import RepositoryAnswer, Searched, UnusablePayload, read
from ledger_pipeline.sources.github.queries import counts_query

# Two searches a window: fifty are one point, and GitHub counts each without listing anything.
WINDOWS_PER_QUERY = 25

# So many names in a row are no renames.
NAMES = 3


def read_counts(
    client: GitHubClient, source_scope: str, windows: Sequence[EpochWindow]
) -> dict[EpochWindow, Mapping[str, int]]:
    """Merged pull requests and closed issues of each of `windows`: a request for every WINDOWS_PER_QUERY of them.

    Asks for fewer at once where GitHub finds the query too heavy; raises SourceError where one window alone is, and
    where the repository changes its name meanwhile, again and again.
    """
    counts: dict[EpochWindow, Mapping[str, int]] = {}
    names = [source_scope]
    size, start = WINDOWS_PER_QUERY, 0
    while start < len(windows):
        asked = windows[start : start + size]
        try:
            name_now, counted = _ask(client, source_scope, names[-1], asked)
        except QueryTooHeavyError:
            if len(asked) == 1:
                raise
            size = len(asked) // 2
            continue
        if name_now.lower() != names[-1].lower():
            # Search knows a renamed repository by its new name only, and counts 0 under the old one.
            names.append(name_now)
            if len(names) > NAMES:
                problem = f"GitHub names it now one way and now another: {', then '.join(names)}"
                raise SourceUnavailable(GITHUB, source_scope, problem)
            continue
        counts |= dict(zip(asked, counted, strict=True))
        start += len(asked)
    return counts


def _ask(
    client: GitHubClient, source_scope: str, repo: str, windows: Sequence[EpochWindow]
) -> tuple[str, list[Mapping[str, int]]]:
    """The repository's name now, and what search counts in each window under the name `repo`."""
    owner, _, name = source_scope.partition("/")
    variables = {"owner": owner, "name": name}
    for n, window in enumerate(windows):
        # GitHub's ranges include their last second, windows do not include their end.
        span = f"{_search_time(window.start)}..{_search_time(window.end - timedelta(seconds=1))}"
        variables[f"m{n}"] = f"repo:{repo} is:pr is:merged merged:{span}"
        variables[f"c{n}"] = f"repo:{repo} is:issue is:closed closed:{span}"
    answer = client.query(source_scope, counts_query(len(windows)), variables)
    try:
        repository = read(RepositoryAnswer, answer.data.get("repository"), answer.date)
        counted: list[Mapping[str, int]] = [
            {
                PULL_REQUESTS: read(Searched, answer.data.get(f"m{n}"), answer.date).issue_count,
                ISSUES: read(Searched, answer.data.get(f"c{n}"), answer.date).issue_count,
            }
            for n in range(len(windows))
        ]
    except UnusablePayload as error:
        raise SourceUnavailable(GITHUB, source_scope, f"GitHub's search gives no count: {error}") from None
    return repository.name_with_owner, counted


def _search_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
