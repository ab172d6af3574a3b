"""The jobs: what a person, a schedule or the bridge asks Dagster to run."""

import dagster as dg

from ledger_pipeline.dagster_contract import (
    ALLOCATE_EPOCH_JOB,
    BACKFILL_JOB,
    COLLECT_EPOCH_JOB,
    STATE_PAYOUTS_JOB,
)
from ledger_pipeline.defs.ingestion import GROUP
from ledger_pipeline.defs.keys import (
    ACTIVITY_CURATION,
    ACTIVITY_EVENTS,
    EPOCH,
    EPOCH_ALLOCATIONS,
    PAYOUT_STATEMENT,
    POOL_COMPONENTS,
)
from ledger_pipeline.defs.partition_checks import DESCRIPTIONS

# Counting with a source costs requests, and collecting what is covered costs none; these checks ask the ledger alone.
_LEDGER_CHECKS = dg.AssetSelection.checks(*(dg.AssetCheckKey(ACTIVITY_EVENTS, name) for name in DESCRIPTIONS))
_COLLECTION = dg.AssetSelection.groups(GROUP).without_checks() | _LEDGER_CHECKS

collect_epoch = dg.define_asset_job(
    COLLECT_EPOCH_JOB,
    selection=_COLLECTION,
    description="Collects the selected epochs: one scan a repository for all of them, then the ledger's digest.",
)


# A run of this job reads anew by its name: which steps there would be to configure, the repo-spec decides.
backfill = dg.define_asset_job(
    BACKFILL_JOB,
    selection=_COLLECTION,
    description="Reads the selected epochs anew, covered or not, one run for each scope's range; adds what was missed.",
)

check_counts = dg.define_asset_job(
    "check_counts",
    selection=dg.AssetSelection.checks_for_assets(ACTIVITY_EVENTS) - _LEDGER_CHECKS,
    description="Compares what the ledger has seen in the selected epochs with what the sources count.",
)

check_policy = dg.define_asset_job(
    "check_policy",
    selection=dg.AssetSelection.checks_for_assets(ACTIVITY_CURATION),
    description="Says what the repo-spec's selection policy would change in those selected epochs that nobody signed.",
)

allocate_epoch = dg.define_asset_job(
    ALLOCATE_EPOCH_JOB,
    selection=dg.AssetSelection.assets(EPOCH, ACTIVITY_CURATION, EPOCH_ALLOCATIONS, POOL_COMPONENTS).without_checks(),
    description="Curates the selected epochs and proposes their allocations and pool, from what the ledger holds.",
)

state_payouts = dg.define_asset_job(
    STATE_PAYOUTS_JOB,
    selection=dg.AssetSelection.assets(EPOCH, PAYOUT_STATEMENT),
    description="Shows the selected epochs' signed statements, and verifies every number of them.",
)
