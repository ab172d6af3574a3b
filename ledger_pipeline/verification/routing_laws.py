"""Which part of an event the scope has follows from the pinned claims, and from the labels and paths kept beside it.

Those are what any scope of the node knew when the first of them closed its epoch of that window, so that all say the
same of an event; an archive has the facts of its own scope, which may be others. That the kept ones are what GitHub
told, the ledger checks before anybody signs (`blocks_selection`); here a warning names events that the archive's own
facts route otherwise.
"""

from collections.abc import Iterator
from dataclasses import replace

from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.routing import ClaimedRepository, RoutedBy, Routing, Share, labels_and_paths, routed_by
from ledger_pipeline.core.routing_pins import routed_by_from_json, shares_hash
from ledger_pipeline.core.selection.choice import PINNED_AS, pinned_choice
from ledger_pipeline.verification.candidates import candidates
from ledger_pipeline.verification.differences import Difference, compare, duplicates, short
from ledger_pipeline.verification.examined import ExaminedEpoch
from ledger_pipeline.verification.record import EpochFacts


def routing_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Parts of events that do not follow, with what is stated and what follows, by event; and those that lack."""
    facts = examined.facts
    repeated = list(duplicates("routing", (row.event_id for row in facts.routing)))
    yield from repeated
    routing = _pinned(facts)
    if routing is None or routing.is_of_before:
        for row in facts.routing:
            yield Difference(f"routing {short(row.event_id)}", "the epoch closed with none that is kept so")
        return
    try:
        shares = stated_shares(facts)
    except SelectionError as error:
        yield Difference("routing", str(error))
        return
    if not repeated:
        where = f"repo-spec {PINNED_AS} routing shares_hash"
        yield from compare(where, routing.shares_hash, shares_hash(shares))
    for event_id in shares.keys() - examined.events.kinds.keys():
        yield Difference(f"routing {short(event_id)}", "there is no such event in the epoch")
    for event in facts.events:
        problem = _problem(routing, event.metadata.get("repository"), shares.get(event.id))
        if problem is not None:
            yield Difference(f"routing {short(event.id)}", problem)


def other_facts(examined: ExaminedEpoch) -> Iterator[str]:
    """A sentence for each event that the facts of this scope route otherwise than it was routed."""
    routing = _pinned(examined.facts)
    if routing is None or not routing.has_claims:
        return
    try:
        shares = routing.shares if routing.is_of_before else stated_shares(examined.facts)
        events = list(candidates(examined.facts))
    except SelectionError:
        return  # a difference reports it
    for event in events:
        stated = (shares or {}).get(event.event_id)
        if stated is None or event.facts is None:
            continue
        claimed = routing.claimed(_first_name(stated) or event.repository)
        follows = routing.share_by(claimed, routed_by(claimed, *labels_and_paths(event)))
        if (stated.milli, stated.reason) != (follows.milli, follows.reason):
            yield (
                f"routing {short(event.event_id)}: the facts in here would give {_shown(follows)}, and it has "
                f"{_shown(stated)}: another scope of the node knew other labels or paths when the first one closed"
            )


def stated_shares(facts: EpochFacts) -> dict[str, Share]:
    """What is stated of each event, by its id. Raises SelectionError where labels and paths are none."""
    return {
        row.event_id: Share(row.share_milli, row.reason, routed_by_from_json(dict(row.routed_by)))
        for row in facts.routing
    }


def _pinned(facts: EpochFacts) -> Routing | None:
    try:
        choice = pinned_choice(facts.pinned_spec)
    except SelectionError:
        return None  # a difference of the selection reports it
    return None if choice is None else choice.routing


def _first_name(stated: Share | None) -> str | None:
    return None if stated is None or stated.routed_by is None else stated.routed_by.repository


def _claimed(routing: Routing, repository: object) -> ClaimedRepository | None:
    return routing.claimed(repository) if isinstance(repository, str) else None


def _problem(routing: Routing, repository: object, stated: Share | None) -> str | None:
    first_name = _first_name(stated)
    claimed = _claimed(routing, first_name or repository)
    if claimed is None and (first_name is None or _claimed(routing, repository) is None):
        return None if stated is None else "nobody claims anything of its repository"
    if stated is None or stated.routed_by is None:
        return "scopes claim parts of its repository, and which part the epoch's scope has is not stated"
    kept = routed_by(claimed, stated.routed_by.labels, stated.routed_by.paths)
    if replace(kept, repository=first_name) != stated.routed_by:
        return f"the claims look at others than {_by(stated.routed_by)}"
    follows = routing.share_by(claimed, stated.routed_by)
    if follows == stated:
        return None
    return f"stated {_shown(stated)}, but {_shown(follows)} follows from {_by(stated.routed_by)}"


def _shown(share: Share) -> str:
    return f"{share.milli} / 1000 ({short(share.reason)})"


def _by(by: RoutedBy) -> str:
    labels, paths = ("unknown" if texts is None else short(list(texts)) for texts in (by.labels, by.paths))
    of = "" if by.repository is None else f", of what was {short(by.repository)}"
    return f"labels {labels} and paths {paths}{of}"
