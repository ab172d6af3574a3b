"""Links from an asset in the UI to the code that makes it."""

import warnings
from collections.abc import Sequence

import dagster as dg


def linked_to_source(assets: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """`assets` with the file and line of each one's function, where the code location has them."""
    with warnings.catch_warnings():
        # Code references are in beta; nothing but a link depends on them.
        warnings.simplefilter("ignore", dg.BetaWarning)
        linked = dg.with_source_code_references(assets)
    return [asset for asset in linked if isinstance(asset, dg.AssetsDefinition)]
