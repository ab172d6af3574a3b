"""What a command has changed of an epoch, told to Dagster at once: else its pages lag until the next sensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ledger_pipeline.cli.ledger_access import LedgerAccess
from ledger_pipeline.cli.output import note
from ledger_pipeline.core.errors import DagsterError
from ledger_pipeline.dagster_contract import ACTIVITY_EVENTS_ASSET, STATEMENT_ASSET, format_partition_key
from ledger_pipeline.local.dagster_address import announced_dagster

if TYPE_CHECKING:
    from ledger_pipeline.pipeline.epoch_checks import CheckResult
    from ledger_pipeline.pipeline.epoch_state import Entries
    from ledger_pipeline.pipeline.review import Review
    from ledger_pipeline.store.records import Epoch


def tell_dagster(access: LedgerAccess, epoch_name: str, command: str, *, status_moved: bool = False) -> None:
    """Have Dagster show the epoch as the ledger has it now; its activity too where its status moved.

    So are the results of their checks, which may have changed too: Dagster takes those of the run before for outdated.

    It is the Dagster of DAGSTER_URL, else that of `dev` on the same LEDGER_HOME: what answers at the usual port
    may be of another ledger. The change is made whatever becomes of it, and where there is neither, nothing is said.
    """
    settings = access.settings
    if "dagster_url" not in settings.model_fields_set:
        if (url := announced_dagster(settings.home)) is None:
            return
        settings = settings.model_copy(update={"dagster_url": url})
    # Here, for most commands tell nothing, and it takes a second to load.
    from ledger_pipeline.cli.epoch_review import review_of
    from ledger_pipeline.pipeline.epoch_state import epoch_numbers, without_charts
    from ledger_pipeline.temporal_bridge.collection.dagster_client import dagster_client

    epoch = access.epoch(epoch_name)
    epoch_review = review_of(access, epoch)
    numbers = epoch_numbers(access.scope, epoch_review, access.ledger.curation.summary(epoch))
    key = format_partition_key(epoch.window.key, access.scope.scope_key)
    trigger = f"ledger-pipeline {command}"
    try:
        dagster = dagster_client(settings)
        dagster.check(access.spec, access.ledger.ledger_id)
        activity = _activity(access, epoch) if status_moved else None
        if activity is not None:
            shown = without_charts(ACTIVITY_EVENTS_ASSET, epoch.window.key, activity.numbers)
            dagster.report(ACTIVITY_EVENTS_ASSET, key, {**_as_json(shown), "trigger": trigger})
        for asset, entries in numbers.items():
            shown = without_charts(asset, epoch.window.key, entries)
            dagster.report(asset, key, {**_as_json(shown), "trigger": trigger})
        # Last: a Dagster whose storage is not ours takes one result of a check without a run, and no second.
        for result in [] if activity is None else activity.checks:
            dagster.report_check(ACTIVITY_EVENTS_ASSET, key, result)
        if access.ledger.statements.history(epoch).statements:
            dagster.report_check(STATEMENT_ASSET, key, _statement_check(access, epoch, epoch_review))
    except DagsterError as error:
        note(f"Dagster shows this after its next run: {error}")


@dataclass(frozen=True)
class _Activity:
    numbers: "Entries"
    checks: Sequence["CheckResult"]


def _activity(access: LedgerAccess, epoch: "Epoch") -> _Activity | None:
    """What the epoch's square says; None where that epoch is not read, so that none turns green."""
    from ledger_pipeline.pipeline.completeness import window_completeness
    from ledger_pipeline.pipeline.epoch_checks import every_source_scope_read, nothing_rejected
    from ledger_pipeline.pipeline.epoch_state import activity_numbers

    read = window_completeness(access.ledger, access.scope, [epoch.window])[epoch.window]
    if read.until is None:
        return None
    now = datetime.now(UTC)
    [digest] = access.ledger.events.digests(access.scope.scope_id, [epoch.window])
    [unsettled] = access.ledger.events.unsettled_rejections(access.scope.scope_id, [epoch.window])
    facts = access.ledger.facts.counts(access.scope.scope_id, [epoch.window])
    return _Activity(
        activity_numbers(digest, epoch, access.scope, read, now, facts[epoch.window]),
        [every_source_scope_read(read, now), nothing_rejected(unsettled)],
    )


def _as_json(entries: "Entries") -> dict[str, Any]:
    """The entries as Dagster's API takes them, which has no instants: they are text, to the minute and in UTC."""
    from ledger_pipeline.pipeline.completeness import utc_text

    return {label: utc_text(value) if isinstance(value, datetime) else value for label, value in entries.items()}


def _statement_check(access: LedgerAccess, epoch: "Epoch", epoch_review: "Review") -> "CheckResult":
    # Here, for only an epoch with a statement needs an archive's models.
    from ledger_pipeline.pipeline.epoch_checks import statement_recomputes
    from ledger_pipeline.verification.ledger_rows import facts_of
    from ledger_pipeline.verification.verify import verify

    differences = verify(facts_of(access.ledger.statements.rows(epoch)))
    return statement_recomputes([*map(str, differences), *map(str, epoch_review.chain.wrongly_set_aside)])
