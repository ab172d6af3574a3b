"""The policies that come with this package, by name."""

from collections.abc import Mapping

from ledger_pipeline.core.selection.cogni import MainMerge, Promotion
from ledger_pipeline.core.selection.fair import Fair
from ledger_pipeline.core.selection.include_all import IncludeAll
from ledger_pipeline.core.selection.policy import SelectionPolicy

_POLICIES: tuple[SelectionPolicy, ...] = (IncludeAll(), MainMerge(), Promotion(), Fair())

OWN_POLICIES: Mapping[str, SelectionPolicy] = {policy.name: policy for policy in _POLICIES}
