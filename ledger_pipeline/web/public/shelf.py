"""What the server has at hand between requests: the publication of each scope, and archives that were asked for."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.pipeline.publication import Publication, PublishedEpoch, publication
from ledger_pipeline.store.epochs import EVER
from ledger_pipeline.verification.archive import write_archive
from ledger_pipeline.verification.exporting import exported
from ledger_pipeline.verification.ledger_rows import facts_of

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

ARCHIVES_KEPT = 32


@dataclass
class Shelf:
    """Publications and archives of the ledger that `ledger` shows, which is one of finalized epochs alone.

    Each is made anew once the ledger says something else. Safe to share between threads. `folder` holds archives, and
    is its own.
    """

    ledger: "PostgresLedger"
    spec: RepoSpec
    folder: Path
    _publications: dict[UUID, Publication] = field(default_factory=dict)
    _archives: "OrderedDict[int, tuple[PublishedEpoch, Path]]" = field(default_factory=OrderedDict)
    _making: Mapping[str, Lock] = field(default_factory=lambda: {"publication": Lock(), "archive": Lock()})

    def of(self, scope: Scope) -> Publication:
        """What is published of `scope` by now. Raises as the store does."""
        at_hand = self._publications.get(scope.scope_id)
        if at_hand is not None and at_hand.version == self.ledger.published.version(scope.scope_id):
            return at_hand
        with self._making["publication"]:  # several who find it old make it once
            before = self._publications.get(scope.scope_id)
            if before is not None and before.version == self.ledger.published.version(scope.scope_id):
                return before
            made = publication(self.ledger, scope, self.ledger.epochs.within(scope.scope_id, EVER), before)
            self._publications[scope.scope_id] = made
            return made

    def epoch(self, epoch_id: int) -> tuple[Publication, PublishedEpoch] | None:
        """The finalized epoch of that id, of whichever scope; None where there is none."""
        for scope in self.spec.scopes:
            shown = self.of(scope)
            if epoch_id in shown.by_id:
                return shown, shown.by_id[epoch_id]
        return None

    def archive(self, published: PublishedEpoch) -> bytes:
        """The archive of a finalized epoch, as `ledger-pipeline export` writes it. One is made at a time."""
        with self._making["archive"]:
            epoch_id = published.epoch.id
            kept = self._archives.pop(epoch_id, None)
            if kept is None or kept[0] != published:
                file = self.folder / f"{epoch_id}.zip"
                facts, _ = exported(facts_of(self.ledger.statements.rows(published.epoch)))
                write_archive(facts, file)
                kept = (published, file)
            self._archives[epoch_id] = kept
            while len(self._archives) > ARCHIVES_KEPT:
                _, (_, oldest) = self._archives.popitem(last=False)
                oldest.unlink()
            return kept[1].read_bytes()
