"""The whole examination: what is independent goes side by side, what is found comes in one order, without secrets."""

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import replace

from pydantic import SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.sources import GITHUB, SourceKind
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.doctor.clocks import check_clock
from ledger_pipeline.doctor.configuration import check_identity, check_repo_spec, source_refs_of
from ledger_pipeline.doctor.dagster import DAGSTER, check_daemon, check_dagster
from ledger_pipeline.doctor.database import DATABASE, check_database, check_migration, check_rights, check_unread
from ledger_pipeline.doctor.findings import Finding, answer_of, failed, skipped
from ledger_pipeline.doctor.github import BUDGET, REPOSITORIES, check_budget, check_credentials, check_repositories
from ledger_pipeline.doctor.sources import check_source
from ledger_pipeline.doctor.temporal import TEMPORAL, check_schedules, check_temporal, check_worker
from ledger_pipeline.settings import Settings
from ledger_pipeline.store.ledger_identity import ledger_id_at

_SHORTEST_SECRET = 4  # a shorter one is no secret, and hiding it would hide letters of words
_Part = tuple[list[Finding], float | None]

_logger = logging.getLogger(__name__)


async def examine(settings: Settings, database_problem: LedgerError | None = None) -> list[Finding]:
    """Every check's finding, always in the same order. Raises nothing; changes nothing.

    `settings` have both databases; where one could not be had, `database_problem` says why.
    """
    repo_spec, spec = check_repo_spec(settings)
    kinds = () if spec is None else spec.source_kinds
    others = [kind for kind in kinds if kind.name != GITHUB]
    ledger_id = await _ledger_id(settings, database_problem)
    (database, database_skew), (temporal, _), (dagster, _), (github, github_skew), *of_others = await asyncio.gather(
        _part(DATABASE, _database(settings, spec, database_problem)),
        _part(TEMPORAL, _temporal(settings, spec, ledger_id)),
        _part(DAGSTER, _dagster(settings, spec, ledger_id)),
        _part(GITHUB, _github(settings, spec)),
        *(_part(kind.name, _other_source(settings, spec, kind)) for kind in others),
    )
    clock = check_clock({"GitHub": github_skew, "the database": database_skew})
    results = [repo_spec, check_identity(settings, spec), *database, *temporal, *dagster, *github]
    results += [finding for findings, _ in of_others for finding in findings]
    results.append(clock)
    return [_without_secrets(result, _secrets(settings)) for result in results]


async def _ledger_id(settings: Settings, problem: LedgerError | None) -> str | None:
    """Which ledger is ours; None where it cannot be asked, which the check of the database says."""
    if problem is not None:
        return None
    try:
        return await answer_of(lambda: ledger_id_at(settings.ledger_url(), settings.database_limits))
    except LedgerError:
        return None


async def _database(settings: Settings, spec: RepoSpec | None, problem: LedgerError | None) -> _Part:
    database, facts = await check_database(settings, problem)
    migration = check_migration(facts)
    rights = await check_rights(settings, migration)
    unread = await check_unread(settings, spec, migration)
    return [database, migration, rights, unread], None if facts is None else facts.skew_seconds


async def _temporal(settings: Settings, spec: RepoSpec | None, ledger_id: str | None) -> _Part:
    temporal = await check_temporal(settings)
    return [
        temporal,
        *await asyncio.gather(
            check_schedules(settings, spec, temporal), check_worker(settings, spec, ledger_id, temporal)
        ),
    ], None


async def _dagster(settings: Settings, spec: RepoSpec | None, ledger_id: str | None) -> _Part:
    dagster = await check_dagster(settings, spec, ledger_id)
    return [dagster, await check_daemon(settings, dagster)], None


async def _github(settings: Settings, spec: RepoSpec | None) -> _Part:
    if spec is not None and all(kind.name != GITHUB for kind in spec.source_kinds):
        return [skipped(check, "no scope collects from GitHub") for check in (GITHUB, BUDGET, REPOSITORIES)], None
    source_refs = [] if spec is None else source_refs_of(spec, GITHUB)
    credentials, usable = await check_credentials(settings, source_refs)
    budget = check_budget(settings, usable)
    repositories = await check_repositories(settings, source_refs, (credentials, budget))
    skews = [reading.skew_seconds for reading in usable if reading.skew_seconds is not None]
    return [credentials, budget, repositories], min(skews, key=abs, default=None)


async def _other_source(settings: Settings, spec: RepoSpec | None, kind: SourceKind) -> _Part:
    return [] if spec is None else [await check_source(settings, spec, kind)], None


async def _part(check: str, pending: Awaitable[_Part]) -> _Part:
    """The part; a bug in it is a finding too, and hides no other part's."""
    try:
        return await pending
    except Exception as error:
        _logger.exception("the check of %s is broken", check)
        return [failed(check, f"the check itself failed: {type(error).__name__}", "report it, with this log")], None


def _secrets(settings: Settings) -> list[str]:
    """All that no finding may show: secret settings, and the passwords in those that are URLs."""
    secrets: list[str] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if not isinstance(value, SecretStr):
            continue
        text = value.get_secret_value()
        secrets += [text, *(token.strip() for token in text.split(","))]
        try:
            secrets.append(make_url(text).password or "")
        except (ArgumentError, ValueError):
            continue
    return sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)


def _without_secrets(finding: Finding, secrets: list[str]) -> Finding:
    """Messages of ours hold none; what others' messages quote is not ours to promise."""
    detail = finding.detail
    for secret in secrets:
        detail = detail.replace(secret, "***")
    return replace(finding, detail=detail)
