"""The shape of the repo-spec's files: field names are the YAML keys, annotations what each key must hold.

Sections of others are ignored (SharedSection); inside those we own an unknown key is an error (OwnedSection).
What a wrong value is told lives beside the key; reading files and naming places is `repo_spec.py`'s.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from ledger_pipeline.core.errors import AllocationError, WindowError
from ledger_pipeline.core.pool import MAX_CREDITS
from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.weights import DEFAULT_WEIGHTS_MILLI, check_weights
from ledger_pipeline.core.windows import EPOCH_ANCHOR, EpochCalendar, parse_epoch_key

_SCOPE_KEY = re.compile(r"[a-z][a-z0-9-]{0,31}")
# Only what cannot be a name at all is refused: which names there are, GitHub says. Managed users have an underscore.
_REPOSITORY = re.compile(r"[A-Za-z0-9_-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_WALLET = re.compile(r"0x[0-9a-fA-F]{40}")


def _checked(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def _check_length(days: int) -> int:
    try:
        EpochCalendar(days)
    except WindowError as error:
        raise ValueError(str(error)) from error
    return days


def _check_credits(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"0|[1-9][0-9]*", text) or int(text) > MAX_CREDITS:
        raise ValueError('a whole number of credits in quotes, as "10000", at most 10^18')
    return int(text)


def _check_cron(text: str) -> str:
    try:
        if len(text.split()) != 5:
            raise ValueError('five fields: minute hour day-of-month month day-of-week, as "0 6 * * *"')
        CronSim(text, datetime(2026, 1, 5, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"a cron expression: {error}") from error
    return text


def _check_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("an IANA time zone name, as UTC or Europe/Berlin") from error
    return name


def unique_ignoring_case(values: tuple[str, ...]) -> tuple[str, ...]:
    """`values` as they are. Raises ValueError when two differ in case at most."""
    seen: dict[str, str] = {}
    for value in values:
        if value.casefold() in seen:
            raise ValueError(f"each once, ignoring case: {value!r} repeats {seen[value.casefold()]!r}")
        seen[value.casefold()] = value
    return values


def _epoch_day(value: object) -> object:
    # YAML reads an unquoted 2026-01-05 as a date and a quoted one as text; both are meant the same.
    if isinstance(value, str):
        try:
            return parse_epoch_key(value)
        except WindowError as error:
            raise ValueError("a date, as 2026-01-05") from error
    if type(value) is not date:
        raise ValueError("a date, as 2026-01-05")
    return value


_Wallet: TypeAlias = Annotated[StrictStr, _checked(_WALLET, "a wallet address: 0x and 40 hexadecimal digits")]
_Approvers: TypeAlias = Annotated[tuple[_Wallet, ...], AfterValidator(unique_ignoring_case)]
_Repository: TypeAlias = Annotated[StrictStr, _checked(_REPOSITORY, "owner/repo, as cogni-dao/ledger")]
_Stream: TypeAlias = Annotated[
    StrictStr, _checked(re.compile("|".join(GITHUB_STREAMS)), f"one of {', '.join(GITHUB_STREAMS)}")
]
_NonEmpty: TypeAlias = Annotated[StrictStr, Field(min_length=1)]


class OwnedSection(BaseModel):
    """A section of ours: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SharedSection(BaseModel):
    """A section others write in too: what is not ours is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class GithubSourceSection(OwnedSection):
    """activity_ledger.activity_sources.github."""

    credit_estimate_algo: _NonEmpty
    source_refs: Annotated[tuple[_Repository, ...], Field(min_length=1), AfterValidator(unique_ignoring_case)]
    streams: Annotated[tuple[_Stream, ...], Field(min_length=1), AfterValidator(unique_ignoring_case)] = GITHUB_STREAMS


class ActivitySourcesSection(OwnedSection):
    """activity_ledger.activity_sources: one key per source."""

    github: GithubSourceSection


class PoolConfigSection(OwnedSection):
    """activity_ledger.pool_config; credits are whole numbers in quotes."""

    base_issuance_credits: Annotated[int, BeforeValidator(_check_credits)]


def _check_weights(weights: dict[str, int]) -> dict[str, int]:
    for kind in weights:
        if kind not in DEFAULT_WEIGHTS_MILLI:
            raise ValueError(f"kinds of events are {', '.join(DEFAULT_WEIGHTS_MILLI)}, not {kind!r}")
    try:
        check_weights(weights)
    except AllocationError as error:
        raise ValueError(str(error)) from error
    return weights


class ActivityLedgerSection(OwnedSection):
    """activity_ledger."""

    epoch_length_days: Annotated[StrictInt, AfterValidator(_check_length)]
    first_epoch: Annotated[date, BeforeValidator(_epoch_day)] = EPOCH_ANCHOR.date()
    activity_sources: ActivitySourcesSection
    approvers: _Approvers | None = None
    pool_config: PoolConfigSection | None = None
    auto_close_grace_hours: Annotated[StrictInt, Field(ge=0)] = 24
    weights_milli: Annotated[dict[StrictStr, StrictInt], AfterValidator(_check_weights)] = {}


class LedgerSection(OwnedSection):
    """ledger: the older place of approvers."""

    approvers: _Approvers = ()


class ScheduleSection(OwnedSection):
    """One of governance.schedules."""

    charter: _NonEmpty
    cron: Annotated[StrictStr, AfterValidator(_check_cron)]
    timezone: Annotated[StrictStr, AfterValidator(_check_timezone)] = "UTC"
    entrypoint: _NonEmpty


class GovernanceSection(SharedSection):
    """governance."""

    schedules: tuple[ScheduleSection, ...] = ()


class ScopeFile(SharedSection):
    """What the repo-spec and a project file have in common."""

    scope_id: UUID
    scope_key: Annotated[
        StrictStr, _checked(_SCOPE_KEY, "a slug of a-z, 0-9 and -, starting with a letter, at most 32 long")
    ]
    activity_ledger: ActivityLedgerSection
    ledger: LedgerSection = LedgerSection()
    governance: GovernanceSection | None = None


class RepoSpecFile(ScopeFile):
    """The repo-spec: the node, and its default scope."""

    node_id: UUID


class ProjectFile(ScopeFile):
    """A file of `projects/`: one more scope of the node."""

    node_id: UUID | None = None
