"""The jobs: what a person, a schedule or the bridge asks Dagster to run."""

import dagster as dg

from ledger_pipeline.core.partition_runs import BACKFILL_JOB, COLLECT_EPOCH_JOB
from ledger_pipeline.defs.checks import COUNTS_MATCH_GITHUB
from ledger_pipeline.defs.ingestion import GROUP
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS

_COUNTS = dg.AssetSelection.checks(dg.AssetCheckKey(ACTIVITY_EVENTS, COUNTS_MATCH_GITHUB))
# Counting with GitHub costs requests, and collecting what is covered costs none; the other checks ask the ledger alone.
_COLLECTION = dg.AssetSelection.groups(GROUP) - _COUNTS

collect_epoch = dg.define_asset_job(
    COLLECT_EPOCH_JOB,
    selection=_COLLECTION,
    description="Collects the selected epochs of a scope: one scan for all of them, then the ledger's digest.",
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
