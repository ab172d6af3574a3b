"""Scopes that collect all that an owner has: what that is, as the ledger knows it from the source's latest listing.

A listing is a part of what an epoch is read by: it closes only once each owner was listed after its end and grace, and
all that was listed then is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from ledger_pipeline.core.owners import each_once
from ledger_pipeline.core.spec import Scope, SourceSpec
from ledger_pipeline.store.scan_records import OwnerListing

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

OwnerKey: TypeAlias = tuple[str, str]  # a source, and a reference to all of an owner's


@dataclass(frozen=True)
class KnownOwners:
    """`scope` with the source_scopes that its owners had when they were last listed, and when that was."""

    scope: Scope
    listed_at: Mapping[OwnerKey, datetime] = field(default_factory=dict)

    def are_listed_since(self, instant: datetime) -> bool:
        """Whether each owner was."""
        return all(
            key in self.listed_at and self.listed_at[key] >= instant
            for spec in self.scope.sources
            for key in keys_of(spec)
        )


def keys_of(spec: SourceSpec) -> list[OwnerKey]:
    """The owners that it collects all of."""
    return [(spec.source, ref) for ref in spec.owners.refs]


def known_owners(store: "PostgresLedger", scope: Scope) -> KnownOwners:
    """What the ledger knows; a scope that names all that it collects is itself, and nothing is asked."""
    if not any(spec.owners.refs for spec in scope.sources):
        return KnownOwners(scope)
    listings = store.listings.latest(scope.scope_id)
    sources = tuple(_with_listed(spec, listings) for spec in scope.sources)
    keys = [key for spec in scope.sources for key in keys_of(spec) if key in listings]
    return KnownOwners(replace(scope, sources=sources), {key: listings[key].listed_at for key in keys})


def _with_listed(spec: SourceSpec, listings: Mapping[OwnerKey, OwnerListing]) -> SourceSpec:
    named = [name for name in spec.source_scopes if name not in spec.listed]
    taken = [
        row.source_scope.source_scope
        for key in keys_of(spec)
        if key in listings
        for row in listings[key].listed
        if spec.owners.takes(row.source_scope, found_archived=row.found_archived, names=row.names)
    ]
    source_scopes = each_once([*named, *taken])
    return replace(spec, source_scopes=source_scopes, listed=source_scopes[len(named) :])
