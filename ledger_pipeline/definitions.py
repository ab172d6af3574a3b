"""What Dagster loads. Assembles, decides nothing."""

import dagster as dg

from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.defs.activity_events import activity_events
from ledger_pipeline.defs.checks import counts_match
from ledger_pipeline.defs.facts_backfill import facts_backfill
from ledger_pipeline.defs.ingestion import source_activity
from ledger_pipeline.defs.jobs import allocate_epoch, backfill, check_counts, check_policy, collect_epoch, state_payouts
from ledger_pipeline.defs.partitions import activity_partitions
from ledger_pipeline.defs.policy_drift import policy_drift
from ledger_pipeline.defs.progress import ProgressListener, ProgressLog
from ledger_pipeline.defs.resources import (
    Clock,
    LedgerResource,
    SettingsResource,
    SourcesResource,
    SystemClock,
    fixed,
)
from ledger_pipeline.defs.schedules import collect_running_epochs
from ledger_pipeline.defs.sensors import closed_epochs, log_failed_runs, log_succeeded_runs, passed_limits
from ledger_pipeline.defs.settlement import settlement_assets
from ledger_pipeline.defs.settlement_sensors import proposals, signed_statements
from ledger_pipeline.defs.source_links import linked_to_source
from ledger_pipeline.defs.statement import payout_statement
from ledger_pipeline.logs import log_dagster_as_json


def build_defs(
    spec: RepoSpec,
    settings: SettingsResource | None = None,
    progress: ProgressListener | None = None,
    clock: Clock | None = None,
    *,
    ledger_id: str | None = None,
) -> dg.Definitions:
    """Everything Dagster knows of `spec`.

    `settings` swaps where the resources look, `progress` who hears of pages, `clock` what says which epochs are over.
    `ledger_id` is said in Dagster's catalogue, for whoever asks which ledger it writes.
    """
    settings = settings or SettingsResource()
    partitions, kinds = activity_partitions(spec), spec.source_kinds
    return dg.Definitions(
        assets=linked_to_source(
            [
                *(source_activity(kind, partitions) for kind in kinds),
                activity_events(partitions, spec, ledger_id),
                *settlement_assets(partitions),
                payout_statement(partitions),
            ]
        ),
        asset_checks=[*(counts_match(kind, partitions) for kind in kinds), policy_drift(partitions)],
        jobs=[
            *(collect_epoch, backfill, check_counts, check_policy, allocate_epoch, state_payouts),
            facts_backfill(kinds, partitions),
        ],
        schedules=[collect_running_epochs(spec)],
        sensors=[
            closed_epochs,
            passed_limits,
            proposals,
            signed_statements,
            log_succeeded_runs,
            log_failed_runs,
        ],
        resources={
            "settings": fixed(settings),
            "ledger": fixed(LedgerResource(settings)),
            "sources": fixed(SourcesResource(settings)),
            "progress": fixed(progress or ProgressLog()),
            "clock": fixed(clock or SystemClock()),
        },
        executor=dg.in_process_executor,
    )


@dg.definitions
def ledger_definitions() -> dg.Definitions:
    """The definitions of the repo-spec that the environment points at, read when the code location loads.

    So is which ledger it writes, where DATABASE_URL is set and answers: nothing else is connected to.
    """
    log_dagster_as_json()
    settings = SettingsResource()
    return build_defs(settings.repo_spec(), settings, ledger_id=LedgerResource(settings).ledger_id())
