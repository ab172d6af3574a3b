"""The jobs: what a person, a schedule or the bridge asks Dagster to run."""

import dagster as dg

from ledger_pipeline.dagster_contract import (
    ALLOCATE_EPOCH_JOB,
    BACKFILL_JOB,
    COLLECT_EPOCH_JOB,
    STATE_PAYOUTS_JOB,
)
from ledger_pipeline.defs.checks import COUNTS_MATCH_GITHUB
from ledger_pipeline.defs.ingestion import GROUP
from ledger_pipeline.defs.keys import (
    ACTIVITY_CURATION,
    ACTIVITY_EVENTS,
    EPOCH,
    EPOCH_ALLOCATIONS,
    PAYOUT_STATEMENT,
    POOL_COMPONENTS,
)

_COUNTS = dg.AssetSelection.checks(dg.AssetCheckKey(ACTIVITY_EVENTS, COUNTS_MATCH_GITHUB))
# Counting with GitHub costs requests, and collecting what is covered costs none; the other checks ask the ledger alone.
_COLLECTION = dg.AssetSelection.groups(GROUP) - _COUNTS

collect_epoch = dg.define_asset_job(
    COLLECT_EPOCH_JOB,
    selection=_COLLECTION,
    description="Collects the selected epochs: one scan a repository for all of them, then the ledger's digest.",
)

backfill = dg.define_asset_job(
    BACKFILL_JOB,
    selection=_COLLECTION,
    config={"ops": {"github_activity": {"config": {"full_refresh": True}}}},
    description="Reads the selected epochs anew, covered or not, one run for each scope's range; adds what was missed.",
)

check_counts = dg.define_asset_job(
    "check_counts",
    selection=_COUNTS,
    description="Compares what the ledger has seen in the selected epochs with what GitHub's search counts.",
)

allocate_epoch = dg.define_asset_job(
    ALLOCATE_EPOCH_JOB,
    selection=dg.AssetSelection.assets(EPOCH, ACTIVITY_CURATION, EPOCH_ALLOCATIONS, POOL_COMPONENTS),
    description="Curates the selected epochs and proposes their allocations and pool, from what the ledger holds.",
)

state_payouts = dg.define_asset_job(
    STATE_PAYOUTS_JOB,
    selection=dg.AssetSelection.assets(EPOCH, PAYOUT_STATEMENT),
    description="Shows the selected epochs' signed statements, and verifies every number of them.",
)
