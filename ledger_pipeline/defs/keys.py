"""The assets' names as Dagster's keys; the names themselves are in `core/partition_runs.py`."""

import dagster as dg

from ledger_pipeline.core.partition_runs import ACTIVITY_EVENTS_ASSET, STREAM_ASSETS

ACTIVITY_EVENTS = dg.AssetKey(ACTIVITY_EVENTS_ASSET)


def stream_key(stream: str) -> dg.AssetKey:
    """The asset of one of GitHub's streams."""
    return dg.AssetKey(STREAM_ASSETS[stream])
