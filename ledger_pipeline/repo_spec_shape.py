"""The shape of the repo-spec's files: field names are the YAML keys, annotations what each key must hold.

Sections of others are ignored (SharedSection); inside those we own an unknown key is an error (OwnedSection).
What a wrong value is told lives beside the key; reading files and naming places is `repo_spec.py`'s. The sections of
`activity_sources` are those of the sources there are, in the dialect of the file, so `over_sources` completes the shape
of a file when it is read.
"""

import re
from datetime import UTC, date, datetime
from functools import cache
from typing import Annotated, Any, TypeAlias, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StrictInt,
    StrictStr,
    create_model,
)

from ledger_pipeline.core.errors import AllocationError, WindowError
from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.core.pool import MAX_CREDITS
from ledger_pipeline.core.signing import read_chain_id
from ledger_pipeline.core.sources import SourceKind, source_kinds
from ledger_pipeline.core.spec import Dialect
from ledger_pipeline.core.weights import check_weights, default_weights_milli
from ledger_pipeline.core.windows import EPOCH_ANCHOR, EpochCalendar, parse_epoch_key
from ledger_pipeline.repo_spec_claims import (
    ClaimSection,
    NonEmpty,
    OwnedSection,
    SharedSection,
    checked,
    unique_ignoring_case,
)
from ledger_pipeline.repo_spec_sources import ActivitySourcesSection, sources_section, with_a_source

_SCOPE_KEY = re.compile(r"[a-z][a-z0-9-]{0,31}")
_LONGEST_SETTINGS = 20_000
_WALLET = re.compile(r"0x[0-9a-fA-F]{40}")


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


def _check_chain(digits: object) -> int:
    chain_id = read_chain_id(digits)
    if chain_id is None:
        raise ValueError('the id of a chain in quotes, as "8453", in decimal digits')
    return chain_id


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


_Wallet: TypeAlias = Annotated[StrictStr, checked(_WALLET, "a wallet address: 0x and 40 hexadecimal digits")]
_Approvers: TypeAlias = Annotated[tuple[_Wallet, ...], AfterValidator(unique_ignoring_case)]


class PoolConfigSection(OwnedSection):
    """activity_ledger.pool_config; credits are whole numbers in quotes."""

    base_issuance_credits: Annotated[int, BeforeValidator(_check_credits)]


def _check_weights(weights: dict[str, int]) -> dict[str, int]:
    event_kinds = default_weights_milli(source.name for source in source_kinds())
    for kind in weights:
        if kind not in event_kinds:
            raise ValueError(f"kinds of events are {', '.join(event_kinds)}, not {kind!r}")
    try:
        check_weights(weights)
    except AllocationError as error:
        raise ValueError(str(error)) from error
    return weights


def _check_settings(settings: dict[str, Any]) -> dict[str, Any]:
    # YAML reads dates, fractions and numbers as keys, of which no hash can be computed.
    try:
        text = canonical_json(settings)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"settings of text, whole numbers, true, false and null, in lists and sections: {error}"
        ) from None
    if len(text) > _LONGEST_SETTINGS:
        raise ValueError(f"settings of at most {_LONGEST_SETTINGS} characters as JSON")
    return settings


class SelectionSection(OwnedSection):
    """activity_ledger.selection: which events count; which settings there are is the policy's to say."""

    policy: NonEmpty
    settings: Annotated[dict[StrictStr, Any], AfterValidator(_check_settings)] = Field(default_factory=dict)
    excluded_logins: Annotated[tuple[NonEmpty, ...], AfterValidator(unique_ignoring_case)] = ()


class ActivityLedgerSection(OwnedSection):
    """activity_ledger."""

    epoch_length_days: Annotated[StrictInt, AfterValidator(_check_length)]
    first_epoch: Annotated[date, BeforeValidator(_epoch_day)] = EPOCH_ANCHOR.date()
    activity_sources: ActivitySourcesSection
    approvers: _Approvers | None = None
    approval_threshold: StrictInt = 1
    pool_config: PoolConfigSection | None = None
    auto_close_grace_hours: Annotated[StrictInt, Field(ge=0)] = 24
    weights_milli: Annotated[dict[StrictStr, StrictInt], AfterValidator(_check_weights)] = Field(default_factory=dict)
    selection: SelectionSection | None = None
    claims: tuple[ClaimSection, ...] = ()


class LedgerSection(OwnedSection):
    """ledger: the older place of approvers."""

    approvers: _Approvers = ()


class ScheduleSection(OwnedSection):
    """One of governance.schedules."""

    charter: NonEmpty
    cron: Annotated[StrictStr, AfterValidator(_check_cron)]
    timezone: Annotated[StrictStr, AfterValidator(_check_timezone)] = "UTC"
    entrypoint: NonEmpty


class GovernanceSection(SharedSection):
    """governance."""

    chain_id: Annotated[int, BeforeValidator(_check_chain)] | None = None
    schedules: tuple[ScheduleSection, ...] = ()


class ScopeFile(SharedSection):
    """What the repo-spec and a project file have in common. Only one of the dialects may leave out `scope_id`."""

    scope_id: UUID | None = None
    scope_key: Annotated[
        StrictStr, checked(_SCOPE_KEY, "a slug of a-z, 0-9 and -, starting with a letter, at most 32 long")
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


_FileT = TypeVar("_FileT", bound=ScopeFile)


@cache
def over_sources(shape: type[_FileT], kinds: tuple[SourceKind, ...], dialect: Dialect) -> type[_FileT]:
    """The shape of a file in `dialect` whose `activity_sources` may have a section of each of `kinds`, and must have
    one."""
    any_source: Any = Annotated[sources_section(kinds, dialect), AfterValidator(with_a_source)]
    fields: Any = {
        "activity_ledger": (
            create_model("ActivityLedgerSection", __base__=ActivityLedgerSection, activity_sources=(any_source, ...)),
            ...,
        )
    }
    if dialect is Dialect.CREDIT_ESTIMATE_ALGO:
        fields["scope_id"] = (UUID, ...)
    return create_model(shape.__name__, __base__=shape, **fields)
