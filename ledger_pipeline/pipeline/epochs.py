"""Closing epochs: an open one goes to review by itself once nothing more is expected for it."""

from datetime import timedelta

from ledger_pipeline.core.pins import epoch_pins
from ledger_pipeline.core.pool import base_issuance
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.store.port import Cursor, Epoch, EpochStatus, LedgerStore


def close_due_epochs(store: LedgerStore, scope: Scope) -> list[Epoch]:
    """Move to review every open epoch of `scope` that is over, read and past its grace; those moved, oldest first.

    Over and read: every cursor of what the scope collects covers the window to its end. Past its grace: a source has
    said a time `auto_close_grace_hours` after that end. No clock but the sources' is asked. Algorithm, weights and
    approvers are pinned in the same statement. Raises ConfigurationError for an unknown credit_estimate_algo.
    """
    cursors = _cursors(store, scope)
    if cursors is None:
        return []
    read_until = min(cursor.watermark for cursor in cursors)
    covered_from = max(cursor.covered_from or cursor.watermark for cursor in cursors)
    source_time = max(cursor.watermark for cursor in cursors)
    if covered_from >= read_until:
        return []
    grace = timedelta(hours=scope.auto_close_grace_hours)
    due = [
        epoch
        for epoch in store.epochs(scope.scope_id, EpochWindow(covered_from, read_until))
        if epoch.status is EpochStatus.OPEN
        and covered_from <= epoch.window.start
        and epoch.window.end <= read_until
        and epoch.window.end + grace <= source_time
    ]
    return [epoch for epoch in due if close(store, scope, epoch)]


def close(store: LedgerStore, scope: Scope, epoch: Epoch) -> bool:
    """Move `epoch` to review with what it is paid by, its base issuance with it; False where it was not open.

    Raises ConfigurationError for an unknown credit_estimate_algo.
    """
    credits_ = scope.base_issuance_credits
    pool = None if credits_ is None else base_issuance(credits_)
    return store.close_epoch(epoch.id, epoch_pins(scope, epoch.weights_milli), pool)


def _cursors(store: LedgerStore, scope: Scope) -> list[Cursor] | None:
    """The cursor of every stream of every source_scope; None where one was never read."""
    found = []
    for spec in scope.sources:
        known = store.cursors(scope.scope_id, spec.source)
        for source_scope in spec.source_scopes:
            for stream in spec.streams:
                if (stream, source_scope) not in known:
                    return None
                found.append(known[stream, source_scope])
    return found or None
