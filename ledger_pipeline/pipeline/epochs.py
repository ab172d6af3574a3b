"""Closing epochs: an open one goes to review by itself once nothing more is expected for it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from ledger_pipeline.core.errors import ConfigurationError, EpochNotReady, StoreError, StoreUnavailable
from ledger_pipeline.core.pins import epoch_pins
from ledger_pipeline.core.pool import base_issuance
from ledger_pipeline.core.public_keys import why_no_approvers
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.pipeline.closing import open_epochs
from ledger_pipeline.pipeline.selection import routed, select_events
from ledger_pipeline.pipeline.unread import collected_kinds
from ledger_pipeline.store.records import Epoch, Exclusion

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger


def close_due_epochs(store: "PostgresLedger", scope: Scope) -> list[Epoch]:
    """Move to review every open epoch of `scope` whose closing scans are all made; those moved, oldest first.

    No clock but the sources' decides. Algorithm, weights and approvers are pinned in the same statement. Raises
    ConfigurationError for an unknown credit_estimate_algo, and StoreError where the ledger refuses to close one, once
    the others are closed. None is closed with approvers whose keys everybody has: `next_steps` and doctor say so.
    """
    if why_no_approvers(scope) is not None:
        return []
    closed, refusals = [], []
    opened = open_epochs(store, scope)
    for epoch in opened.closable():
        try:
            if close(store, opened.scope, epoch):
                closed.append(epoch)
        except EpochNotReady:
            continue  # an item became unread since we looked: the next collection asks for it, and looks again
        except StoreUnavailable:
            raise
        except StoreError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
    return closed


def close(store: "PostgresLedger", scope: Scope, epoch: Epoch, exclusion: Exclusion | None = None) -> bool:
    """Move `epoch` to review with what it is paid by, its base issuance with it; False where it was not open.

    `scope` is as `open_epochs` has it, with all that its owners have: that is pinned.
    The items of `exclusion` are written down as what it lacks. Where the scope names a selection policy, it decides on
    the epoch's events by what is pinned. Who takes no pay is pinned, too. Raises ConfigurationError for an unknown
    credit_estimate_algo and for approvers whose keys everybody has, StoreError where a base issuance from before is
    another than the repo-spec's, or an item is not unread any more, and EpochNotReady where another item of the epoch
    has become unread since the caller looked.
    """
    problem = why_no_approvers(scope)
    if problem is not None:
        raise ConfigurationError(f"epoch {epoch.window.key} of {scope.scope_key} is not closed: {problem}")
    credits_ = scope.base_issuance_credits
    pool = None if credits_ is None else base_issuance(credits_)
    excluded_logins = () if scope.selection is None else scope.selection.excluded_logins
    scope = replace(scope, selection=routed(store, scope, epoch))
    excluded_ids = store.selection.excluded_ids(scope.scope_id, excluded_logins)
    pins = epoch_pins(scope, epoch.weights_milli, excluded_ids, store.opt_outs.names())
    routing = None if scope.selection is None else scope.selection.routing
    shares = {} if routing is None else routing.shares or {}
    if not store.epochs.close(epoch.id, pins, pool, exclusion, collected_kinds(scope), shares):
        return False
    closed = store.epochs.of_id(epoch.id)
    if closed is not None:
        # Facts of this moment decide from now on. Where this is interrupted, a statement is blocked until it is done.
        select_events(store, scope, closed)
    return True
