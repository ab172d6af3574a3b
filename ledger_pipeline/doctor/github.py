"""GitHub: credentials that work, may read what they must and little else, repositories that answer, and points left."""

from collections.abc import Sequence

from ledger_pipeline.core.errors import LedgerError, SettingsError
from ledger_pipeline.core.owners import is_owner_ref
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.doctor.findings import Finding, State, answer_of, failed, fine, skipped, warning
from ledger_pipeline.settings import Settings
from ledger_pipeline.settings_credentials import GitHubApp
from ledger_pipeline.sources.github.capabilities import facts_unknown, needed
from ledger_pipeline.sources.github.credential_reports import TIMEOUT_SECONDS, CredentialReport, inspect_credentials
from ledger_pipeline.sources.github.source import open_github

BUDGET = "budget"
REPOSITORIES = "repositories"

# Reading needs no more; `repo` is the only scope by which a classic token reads private repositories.
READING_SCOPES = frozenset(
    {"repo", "public_repo", "repo:status", "read:org", "read:user", "user:email", "read:project"}
)
NEEDED_PERMISSIONS = ("issues", "metadata", "pull_requests")


async def check_credentials(settings: Settings, source_refs: Sequence[str]) -> tuple[Finding, list[CredentialReport]]:
    """Each token or installation is one that GitHub knows, and may read; who it is, and with which scopes."""
    try:
        credentials = settings.github_credentials()
    except SettingsError as error:
        remedy = "set GITHUB_TOKEN, or GITHUB_APP_ID with its private key (README: Your own repositories)"
        return failed(GITHUB, error, remedy), []
    try:
        reports = await answer_of(lambda: inspect_credentials(settings.github_api_url, credentials, source_refs))
    except LedgerError as error:
        return failed(GITHUB, error, "check GITHUB_API_URL, and that GitHub can be reached from here"), []
    usable = [report for report in reports if report.problem is None]
    seen = "; ".join(map(_told, reports))
    bad = [report for report in reports if report.problem is not None]
    if bad:
        remedy = _renew(credentials) if any(report.rejected for report in bad) else _RETRY
        return (warning if usable else failed)(GITHUB, seen, remedy), usable
    lacking = sorted({name for report in usable for name in _lacking(report)})
    if lacking:
        remedy = f"grant the App read access to {', '.join(NEEDED_PERMISSIONS)}, and accept it for the installation"
        return failed(GITHUB, f"{seen}; lacks {', '.join(lacking)}", remedy), usable
    excess = sorted({scope for report in usable for scope in report.scopes or () if scope not in READING_SCOPES})
    if excess:
        remedy = "use a fine-grained token with read access to Issues, Metadata and Pull requests, or a GitHub App"
        return warning(GITHUB, f"{seen}; {', '.join(excess)} is more than reading needs", remedy), usable
    return fine(GITHUB, seen or "no repository to ask for"), usable


def check_budget(settings: Settings, reports: Sequence[CredentialReport]) -> Finding:
    """Some credential has more points left than are kept for others."""
    if not reports:
        return skipped(BUDGET, "GitHub's credentials do not work")
    limited = [(report.name, report.points) for report in reports if report.points is not None]
    if not limited:
        return fine(BUDGET, "GitHub sets no limit here")
    seen = "; ".join(
        f"{name}: {points.left} of {points.limit} points left, whole again at {points.resets_at:%Y-%m-%dT%H:%M:%SZ}"
        for name, points in limited
    )
    if len(limited) == len(reports) and all(points.left <= settings.github_points_reserve for _, points in limited):
        seen = f"the reserve of {settings.github_points_reserve} (GITHUB_POINTS_RESERVE) is reached; {seen}"
        return warning(BUDGET, seen, "wait until then, add a token to GITHUB_TOKENS, or use a GitHub App")
    return fine(BUDGET, seen)


async def check_repositories(settings: Settings, source_refs: Sequence[str], before: Sequence[Finding]) -> Finding:
    """Every repository of every scope answers, asked as a collection would, and the server has the fields it asks for.

    Owners that scopes collect all of are listed. `before` are the findings it rests on.
    """
    if any(result.state in (State.FAILED, State.SKIPPED) for result in before):
        return skipped(REPOSITORIES, "GitHub's credentials do not work")
    if any(result.check == BUDGET and result.state is State.WARNING for result in before):
        return skipped(REPOSITORIES, "the budget's reserve is not spent on this")
    if not source_refs:
        return skipped(REPOSITORIES, "the repo-spec names none")
    source_scopes, owners = [ref for ref in source_refs if not is_owner_ref(ref)], [*filter(is_owner_ref, source_refs)]
    impatient = {"github_timeout_seconds": TIMEOUT_SECONDS, "github_retries": 0, "github_max_wait_seconds": 0}

    def ask() -> tuple[list[str], list[str], list[str]]:
        with open_github(settings.model_copy(update=impatient)) as github:
            listed = [row.source_scope for ref in owners for row in github.list_owner(ref).source_scopes]
            answered = github.heads(source_scopes).heads
            lacking = github.lacking_fields([*source_scopes, *listed][0])
        return [source_scope for source_scope in source_scopes if source_scope not in answered], lacking, listed

    remedy = "check source_refs for the spelling, and that the credentials may read each of them (private ones: `repo`)"
    try:
        missing, lacking, listed = await answer_of(ask)
    except LedgerError as error:
        return failed(REPOSITORIES, error, remedy)
    seen = f"this server's GraphQL schema lacks {', '.join(lacking)}, which a collection asks for"
    if needed(lacking):
        return failed(REPOSITORIES, seen, "upgrade GitHub Enterprise Server to a version whose schema has them")
    if missing:
        seen = f"{len(missing)} of {len(source_scopes)} not there, or not for us: {', '.join(missing)}"
        return failed(REPOSITORIES, seen, remedy)
    if lacking:
        unknown = facts_unknown(lacking)
        instead = "; ".join(
            [
                *(["the same numbers are read from databaseId and id"] if len(unknown) < len(lacking) else []),
                *([f"facts that {', '.join(unknown)} would tell stay unknown"] if unknown else []),
            ]
        )
        return warning(REPOSITORIES, f"{seen}; {instead}", "none is needed; a newer GitHub Enterprise Server has them")
    of_owners = f", and {', '.join(owners)} with {len(listed)} listed" if owners else ""
    return fine(REPOSITORIES, f"all {len(source_scopes)} readable{of_owners}")


_RETRY = "check GITHUB_API_URL, and that GitHub can be reached from here; then run this again"


def _renew(credentials: object) -> str:
    if isinstance(credentials, GitHubApp):
        return "check GITHUB_APP_ID and its private key, and that the App is installed for the repositories' owners"
    return "renew GITHUB_TOKEN (or that token of GITHUB_TOKENS): GitHub does not know it, or no more"


def _told(report: CredentialReport) -> str:
    if report.problem is not None:
        return f"{report.name}: {report.problem}"
    who = f"{report.name} of {report.login}" if report.login else report.name
    if report.scopes is not None:
        return f"{who}, scopes: {', '.join(report.scopes) or 'none (public repositories)'}"
    if report.permissions is not None:
        return f"{who}, may {', '.join(f'{level} {name}' for name, level in sorted(report.permissions.items()))}"
    return f"{who}, fine-grained: GitHub does not tell its permissions"


def _lacking(report: CredentialReport) -> list[str]:
    return [] if report.permissions is None else [name for name in NEEDED_PERMISSIONS if name not in report.permissions]
