"""The jobs: what a person, a schedule or the bridge asks Dagster to run."""

import dagster as dg

from ledger_pipeline.core.partition_runs import COLLECT_EPOCH_JOB
from ledger_pipeline.defs.ingestion import ACTIVITY_EVENTS, GROUP

collect_epoch = dg.define_asset_job(
    COLLECT_EPOCH_JOB,
    # Without checks: counting with GitHub costs requests, and collecting what is covered costs none.
    selection=dg.AssetSelection.groups(GROUP).without_checks(),
    description="Collects the selected epochs of a scope: one scan for all of them, then the ledger's digest.",
)

check_counts = dg.define_asset_job(
    "check_counts",
    selection=dg.AssetSelection.checks_for_assets(ACTIVITY_EVENTS),
    description="Compares what the ledger has seen in the selected epochs with what GitHub's search counts.",
)
