"""What sources list of owners, for scopes that collect all of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from ledger_pipeline.core.owners import ListedSourceScope
from ledger_pipeline.store.scan_records import Listed, OwnerListing
from ledger_pipeline.store.section import LedgerSection

# Whatever an older listing says that is stored later: the latest is what counts.
KEEP = text("""
    INSERT INTO listed_source_scopes AS stored
        (node_id, scope_id, source, owner_ref, source_scope, source_scope_id, is_fork, is_archived, found_archived,
            first_listed_at, listed_at)
    SELECT :node_id, :scope_id, :source, :owner_ref, source_scope, source_scope_id, is_fork, is_archived, is_archived,
        :listed_at, :listed_at
    FROM unnest(
        CAST(:source_scopes AS text[]), CAST(:source_scope_ids AS text[]), CAST(:forks AS boolean[]),
        CAST(:archived AS boolean[])
    ) AS listed (source_scope, source_scope_id, is_fork, is_archived)
    ORDER BY source_scope
    ON CONFLICT (node_id, scope_id, source, owner_ref, source_scope) DO UPDATE SET
        source_scope_id = excluded.source_scope_id,
        is_fork = excluded.is_fork,
        is_archived = excluded.is_archived,
        listed_at = excluded.listed_at
    WHERE excluded.listed_at > stored.listed_at
""")
FIND = text("""
    SELECT source, owner_ref, source_scope, source_scope_id, is_archived, is_fork, found_archived, listed_at
    FROM listed_source_scopes
    WHERE node_id = :node_id AND scope_id = :scope_id
    ORDER BY source, owner_ref, source_scope
""")


class Listings(LedgerSection):
    """Of a node's scopes, what the owners have that they collect all of."""

    def keep(
        self, scope_id: UUID, source: str, owner_ref: str, listed: Sequence[ListedSourceScope], listed_at: datetime
    ) -> None:
        """Remember that an owner had all of `listed`, and nothing else, at `listed_at` (the source's time).

        Raises ValueError for none: of an owner that has nothing, nobody would know that it was listed.
        """
        if not listed:
            raise ValueError(f"{owner_ref} is listed, and nothing of it")
        columns = {
            "source_scopes": [row.source_scope for row in listed],
            "source_scope_ids": [row.source_scope_id for row in listed],
            "forks": [row.is_fork for row in listed],
            "archived": [row.is_archived for row in listed],
        }
        with self._transaction() as connection:
            where = {**self._scope(scope_id), "source": source, "owner_ref": owner_ref, "listed_at": listed_at}
            connection.execute(KEEP, {**where, **columns})

    def latest(self, scope_id: UUID) -> dict[tuple[str, str], OwnerListing]:
        """The latest listing of each owner, by source and reference; what was never listed is not there."""
        with self._transaction() as connection:
            rows = connection.execute(FIND, self._scope(scope_id)).all()
        by_ref: dict[tuple[str, str], list[_Row]] = {}
        for row in rows:
            of_row = ListedSourceScope(row.source_scope, row.source_scope_id, row.is_archived, row.is_fork)
            listed = _Row(Listed(of_row, row.found_archived), row.listed_at)
            by_ref.setdefault((row.source, row.owner_ref), []).append(listed)
        return {ref: _latest(of_ref) for ref, of_ref in by_ref.items()}


@dataclass(frozen=True)
class _Row:
    listed: Listed
    listed_at: datetime


def _latest(rows: Sequence[_Row]) -> OwnerListing:
    listed_at = max(row.listed_at for row in rows)
    by_id: dict[str | None, list[_Row]] = {}
    for row in rows:
        by_id.setdefault(row.listed.source_scope.source_scope_id, []).append(row)
    by_id.pop(None, None)
    return OwnerListing(
        listed_at,
        tuple(_under_all_names(row, by_id) for row in rows if row.listed_at == listed_at),
        tuple(row.listed.source_scope.source_scope for row in rows if row.listed_at < listed_at),
    )


def _under_all_names(row: _Row, by_id: Mapping[str | None, Sequence[_Row]]) -> Listed:
    """Its row, with the names of before; under the first of them it was found as it was first listed."""
    others = [of for of in by_id.get(row.listed.source_scope.source_scope_id, ()) if of is not row]
    if not others:
        return row.listed
    found_archived = row.listed.found_archived and all(of.listed.found_archived for of in others)
    return replace(
        row.listed,
        found_archived=found_archived,
        names=tuple(of.listed.source_scope.source_scope for of in others),
    )
