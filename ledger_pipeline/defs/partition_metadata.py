"""The metadata of a run's partitions, told to Dagster for all of them at once.

`context.add_asset_metadata` lists every partition of the run for each one it is told of, and copies what it was told
before: a range of ten years takes a hundred times as long as one of a year.
"""

from collections.abc import Mapping

import dagster as dg

# Dagster has no public way to add metadata to many partitions at once: these keep what `add_asset_metadata` was given
# until the materialization is stored.
from dagster._core.execution.context.metadata_logging import AssetMetadataHandle, OutputMetadataAccumulator

from ledger_pipeline.defs.metadata import Metadata


def add_partition_metadata(
    context: dg.AssetExecutionContext, asset_key: dg.AssetKey, metadata: Mapping[dg.MultiPartitionKey, Metadata]
) -> None:
    """Let the materialization of each of these partitions of `asset_key` say this, beside what it says already.

    Raises DagsterInvariantViolationError, adding nothing, for a partition that is not of the run.
    """
    strangers = sorted(set(map(str, metadata)).difference(map(str, context.partition_keys)))
    if strangers:
        raise dg.DagsterInvariantViolationError(f"{asset_key.to_user_string()}: not of this run: {strangers[0]}")
    step = context.get_step_execution_context()
    metadata_by_output = dict(step._metadata_accumulator.per_output_metadata)
    for partition, of_partition in metadata.items():
        handle = AssetMetadataHandle(asset_key=asset_key, partition_key=partition)
        metadata_by_output[handle] = {**metadata_by_output.get(handle, {}), **of_partition}
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=metadata_by_output)
