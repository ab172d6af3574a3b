"""What a selection policy decides follows from the pinned facts and the pinned spec alone: it is decided again here.

Which part of an event a scope has, where several claim its repository, is taken as it is stated: `routing_laws` says
what of it does not follow.
"""

from collections.abc import Iterator
from dataclasses import replace

from ledger_pipeline.core.errors import SelectionError, VerificationFailed
from ledger_pipeline.core.facts import facts_set_hash
from ledger_pipeline.core.hashing import sha256_hex
from ledger_pipeline.core.identifiers import why_not_an_account
from ledger_pipeline.core.selection.choice import PINNED_AS, SelectionChoice, pinned_choice
from ledger_pipeline.core.selection.policy import Decision, SelectionPolicy, ids_of_logins
from ledger_pipeline.core.selection.routed import decide
from ledger_pipeline.policies import policy_of
from ledger_pipeline.verification.candidates import candidates
from ledger_pipeline.verification.changed_fields import ChangedFields
from ledger_pipeline.verification.differences import Difference, compare, duplicates, short
from ledger_pipeline.verification.examined import ExaminedEpoch
from ledger_pipeline.verification.routing_laws import stated_shares


def facts_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Facts that are not those that the epoch closed with, do not have their hash, or are of no event of the epoch."""
    rows, kinds = examined.facts.facts, examined.events.kinds
    repeated = list(duplicates("facts", (row.event_id for row in rows)))
    yield from repeated
    if not repeated and (rows or PINNED_AS in examined.facts.pinned_spec):
        set_hash = facts_set_hash((row.event_id, row.facts_hash) for row in rows)
        yield from compare("epoch facts_set_hash", examined.facts.epoch.facts_set_hash, set_hash)
    changed_fields = ChangedFields(rows)
    for row in rows:
        where = f"facts {short(row.event_id)}"
        if row.event_id not in kinds:
            yield Difference(where, "there is no such event in the epoch")
        try:
            for difference in compare(where, row.facts_hash, sha256_hex(dict(row.facts))):
                field = changed_fields.of(row)
                yield difference if field is None else Difference(where, f"{field}: {difference.problem}")
        except TypeError as error:
            yield Difference(where, f"no hash can be computed of them: {error}")


def selection_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Decisions that the policy does not make, with the reason that is stated and the one that follows.

    Raises VerificationFailed where the policy is not installed, or in another version than the epoch closed with.
    """
    facts = examined.facts
    yield from duplicates("selection", (row.event_id for row in facts.selection))
    for row in facts.co_authors:
        problem = why_not_an_account(row.provider, row.external_id)
        if problem is not None:
            yield Difference(f"co_authors {short(row.event_id)}", f"{short(row.provider)} account {problem}")
        if row.event_id not in examined.decisions:
            yield Difference(f"co_authors {short(row.event_id)}", "no policy decided that the event is shared")
    try:
        choice = pinned_choice(facts.pinned_spec)
    except SelectionError as error:
        yield Difference(f"repo-spec {PINNED_AS}", str(error))
        return
    if choice is None:
        for judged in facts.selection:
            yield Difference(f"selection {short(judged.event_id)}", "the epoch closed with no policy that could decide")
        return
    try:
        policy = policy_of(choice)
    except SelectionError as error:
        raise VerificationFailed(f"nobody can recompute here which events count: {error}") from error
    yield from _without_their_ids(examined, choice)
    try:
        follows = _decisions(examined, policy, choice)
    except SelectionError as error:
        yield Difference("selection", str(error))
        return
    stated = examined.decisions
    for event_id in sorted(follows.keys() | stated.keys()):
        if stated.get(event_id) != follows.get(event_id):
            problem = f"stated {_shown(stated.get(event_id))}, but {_shown(follows.get(event_id))} follows"
            yield Difference(f"selection {short(event_id)}", problem)


def _without_their_ids(examined: ExaminedEpoch, choice: SelectionChoice) -> Iterator[Difference]:
    """Accounts of the epoch's events whose login is excluded, and whose id is not: a rename would lift it."""
    seen = ((event.platform_login, event.platform_user_id) for event in examined.facts.events)
    for user_id in ids_of_logins(seen, choice.excluded_logins):
        if user_id not in choice.excluded_ids:
            problem = "an excluded login has it, and it was not pinned as excluded"
            yield Difference(f"repo-spec {PINNED_AS} excluded_ids {short(user_id)}", problem)


def _decisions(examined: ExaminedEpoch, policy: SelectionPolicy, choice: SelectionChoice) -> dict[str, Decision]:
    routing = choice.routing
    if routing is not None and not routing.is_of_before:
        choice = replace(choice, routing=replace(routing, shares=stated_shares(examined.facts)))
    return decide(policy, candidates(examined.facts), choice, examined.facts.epoch.weights_milli)


def _shown(decision: Decision | None) -> str:
    if decision is None:
        return "no decision"
    factor = "" if decision.weight_factor_milli is None else f", weight times {decision.weight_factor_milli} / 1000"
    shared = f", shared with {short(', '.join(decision.co_authors))}" if decision.co_authors else ""
    return f"{'counts' if decision.included else 'left out'} ({short(str(decision.reason))}{factor}{shared})"
