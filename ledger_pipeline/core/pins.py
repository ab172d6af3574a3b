"""What is fixed when an epoch closes for review, so that nothing it is paid by can change afterwards."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from ledger_pipeline.core.allocations import WEIGHT_SUM_V0
from ledger_pipeline.core.approvals import APPROVAL_THRESHOLD, WITHOUT
from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.core.hashing import Json, sha256_hex
from ledger_pipeline.core.identifiers import RULE
from ledger_pipeline.core.opting import OPTED_OUT
from ledger_pipeline.core.owners import OwnerRules, owner_of
from ledger_pipeline.core.pool import MAX_CREDITS
from ledger_pipeline.core.repository_names import NO_NAMES, KnownNames
from ledger_pipeline.core.selection.choice import PINNED_AS, named_part
from ledger_pipeline.core.signing import CHAIN_ID
from ledger_pipeline.core.spec import Scope

# The algorithm that each way of estimating credits allocates by; the system we join knows the same names.
_ALLOCATION_ALGO_OF = {"cogni-v0.0": WEIGHT_SUM_V0}
# Approvers and how many of them sign pay nobody, but decide who may sign for it.
_PAYING = ("base_issuance_credits", "approvers", APPROVAL_THRESHOLD, PINNED_AS)
_SOURCES = "activity_sources"
_OWNERS = "owners"
_MAX_SHOWN = 300
# An epoch that closes with it reserves the share of an account without a user; one of before gave it to the others.
CLAIMANTS = "claimants"
CLAIMANTS_VERSION = 1
_CREDITS = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class EpochPins:
    """The allocation algorithm, hashes of the pinned weights and of the approvers of that moment, and the spec.

    `pinned_spec` is the scope's part of the repo-spec as it was then; empty for an epoch that another system closed.
    """

    allocation_algo_ref: str
    weight_config_hash: str
    approver_set_hash: str
    pinned_spec: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class PinDifference:
    """What an epoch was closed with by a `name` of the repo-spec, and what that says now; both as JSON text.

    `pays` where it decides who gets how much, or whose work was read at all, so that a person has to say which of the
    two counts.
    """

    name: str
    pinned: str
    current: str
    pays: bool

    def __str__(self) -> str:
        return f"{self.name} was pinned as {self.pinned}, and the repo-spec says {self.current}"


def pin_differences(
    scope: Scope,
    algorithm: str | None,
    weights_milli: Mapping[str, Json],
    pinned: Mapping[str, Json],
    known_names: KnownNames = NO_NAMES,
) -> list[PinDifference]:
    """Where an epoch that is closed differs from `scope` as it is now; `pinned` is its spec, empty where none is known.

    The weights are those of its creation. What is paid is named first. Two names of a repository are no difference.
    """
    now = pinned_spec(scope)
    # The ids of excluded logins are found when an epoch closes, and an upgrade of a distribution changes no policy.
    if isinstance(stated := pinned.get(PINNED_AS), dict):
        named = named_part(stated, scope.selection)
        pinned = {name: value for name, value in pinned.items() if name != PINNED_AS}
        pinned |= {} if named is None else {PINNED_AS: named}
    if scope.selection is not None:
        now[PINNED_AS] = scope.selection.named
    algorithm_now = _ALLOCATION_ALGO_OF.get(scope.sources[0].credit_estimate_algo, "no algorithm")
    compared: list[tuple[str, Json, Json, bool]] = [
        ("weights_milli", dict(weights_milli), dict(scope.weights_milli), True),
        ("allocation_algo_ref", algorithm, algorithm_now, True),
    ]
    if pinned:
        # An epoch of before there was a rule for ids, or for accounts without a user, was closed by none.
        others = {"weights_milli", OPTED_OUT, *(name for name in ("id_rule", CLAIMANTS) if name not in pinned)}
        names = sorted({*pinned, *now} - others, key=lambda name: (name not in _PAYING, name))
        compared += [
            (
                name,
                _as_written(name, pinned.get(name, WITHOUT.get(name))),
                _as_written(name, now.get(name, WITHOUT.get(name))),
                name in _PAYING or (name == _SOURCES and _lacks_any(pinned, now, known_names)),
            )
            for name in names
        ]
        if states_other_weights(weights_milli, pinned):
            # The repo-spec may have changed since the epoch was created; what it says now was no lie.
            compared.append(("pinned_spec.weights_milli", pinned["weights_milli"], now["weights_milli"], False))
    return [
        PinDifference(name, shown(then), shown(today), pays)
        for name, then, today, pays in compared
        if _of_repositories(name, then, known_names) != _of_repositories(name, today, known_names)
    ]


def _of_repositories(name: str, value: Json, names: KnownNames) -> Json:
    """The `name` of a spec with every repository called by its latest name, as far as that is known."""
    if names == NO_NAMES or not isinstance(value, dict):
        return value
    if name == _SOURCES:
        return {
            source: {**of_source, "source_refs": [_latest(ref, names) for ref in _texts(of_source.get("source_refs"))]}
            if isinstance(of_source, dict)
            else of_source
            for source, of_source in value.items()
        }
    routing = value.get("routing")
    repositories = routing.get("repositories") if isinstance(routing, dict) else None
    if name != PINNED_AS or not isinstance(routing, dict) or not isinstance(repositories, dict):
        return value
    claims = {_latest(repository, names): claimed for repository, claimed in repositories.items()}
    return {**value, "routing": {**routing, "repositories": claims}}


def _latest(ref: str, names: KnownNames) -> str:
    return names.latest_name(ref) if ref.casefold() in names.latest else ref


def _lacks_any(pinned: Mapping[str, Json], now: Mapping[str, Json], names: KnownNames) -> bool:
    """Whether a stream of a repository is collected by the spec `now` that the `pinned` one knew nothing of: an epoch
    that closed so may have been read in part, and whoever worked elsewhere is not paid."""
    listed, written, today = pinned.get(_SOURCES), _as_written(_SOURCES, pinned.get(_SOURCES)), now[_SOURCES]
    collected = _collected(listed, names) | _collected(written, names)
    return not _collected(_as_written(_SOURCES, today), names) <= collected


def _as_written(name: str, value: Json) -> Json:
    """The `name` of a spec as a person wrote it: of an owner all (`acme/*`), not the repositories that it had then.

    One that was made since is no other spec.
    """
    if name != _SOURCES or not isinstance(value, dict):
        return value
    return {source: _without_listed(of_source) for source, of_source in value.items()}


def _without_listed(of_source: Json) -> Json:
    owners = of_source.get(_OWNERS) if isinstance(of_source, dict) else None
    if not isinstance(of_source, dict) or not isinstance(owners, dict):
        return of_source
    refs = _texts(owners.get("source_refs"))
    all_of = set(map(owner_of, refs))
    named = [ref for ref in _texts(of_source.get("source_refs")) if owner_of(ref) not in all_of]
    return {**of_source, "source_refs": [*named, *refs]}


def _collected(sources: Json, names: KnownNames) -> set[tuple[str, str, str]]:
    """Each source, its repositories in lower case by their latest `names`, and their streams; nothing of what has
    another shape."""
    return {
        (source, names.latest_name(ref).lower(), stream)
        for source, parts in (sources.items() if isinstance(sources, dict) else ())
        if isinstance(parts, dict)
        for ref in _texts(parts.get("source_refs"))
        for stream in _texts(parts.get("streams"))
    }


def _texts(values: Json) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def states_other_weights(weights_milli: Mapping[str, Json], pinned: Mapping[str, Json]) -> bool:
    """Whether the spec that an epoch closed with says other weights than it counts by, which are of its creation.

    So it does where the repo-spec was edited in between, or where somebody made it up.
    """
    return "weights_milli" in pinned and pinned["weights_milli"] != dict(weights_milli)


def shown(value: object) -> str:
    """A value that somebody pinned, of any length that JSON holds, as JSON text that a sentence has room for."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def epoch_pins(
    scope: Scope, weights_milli: Mapping[str, int], excluded_ids: Sequence[str] = (), opted_out: Collection[str] = ()
) -> EpochPins:
    """What an epoch of `scope` is closed with now. Raises ConfigurationError for an unknown credit_estimate_algo.

    `excluded_ids` are of the logins that the selection policy excludes; `opted_out` are who takes no pay.
    """
    return EpochPins(
        allocation_algo_ref(scope.sources[0].credit_estimate_algo),
        weight_config_hash(weights_milli),
        approver_set_hash(scope.approvers),
        pinned_spec(scope, excluded_ids) | ({OPTED_OUT: sorted(opted_out)} if opted_out else {}),
    )


def pinned_spec(scope: Scope, excluded_ids: Sequence[str] = ()) -> dict[str, Json]:
    """The scope's part of the repo-spec, as JSON whose numbers are exact everywhere (credits are a string).

    The selection policy, the chain and a threshold above one are there only where the repo-spec names them.
    """
    selection = scope.selection
    chosen: dict[str, Json] = {} if selection is None else {PINNED_AS: selection.with_ids(tuple(excluded_ids)).pinned}
    if scope.chain_id is not None:
        chosen[CHAIN_ID] = str(scope.chain_id)
    if scope.approval_threshold > 1:
        chosen[APPROVAL_THRESHOLD] = scope.approval_threshold
    credits_ = scope.base_issuance_credits
    return {
        "id_rule": RULE,
        CLAIMANTS: CLAIMANTS_VERSION,
        "scope_id": str(scope.scope_id),
        "scope_key": scope.scope_key,
        "epoch_length_days": scope.epoch_length_days,
        "first_epoch": scope.first_epoch.isoformat(),
        "activity_sources": {
            source_spec.source: {
                "credit_estimate_algo": source_spec.credit_estimate_algo,
                "source_refs": list(source_spec.source_scopes),
                "streams": list(source_spec.streams),
                **_owners(source_spec.owners),
            }
            for source_spec in scope.sources
        },
        "weights_milli": dict(scope.weights_milli),
        "approvers": list(scope.approvers),
        "base_issuance_credits": None if credits_ is None else str(credits_),
        "auto_close_grace_hours": scope.auto_close_grace_hours,
        **chosen,
    }


def _owners(owners: OwnerRules) -> dict[str, Json]:
    """What source_refs of a pinned spec has beside what is named there, and why; nothing where all is named."""
    if not owners.refs:
        return {}
    return {
        _OWNERS: {
            "source_refs": list(owners.refs),
            "exclude": list(owners.exclude),
            "include_archived": owners.include_archived,
            "include_forks": owners.include_forks,
        }
    }


def pinned_base_issuance(pinned: Mapping[str, Json]) -> int | None:
    """The credits of the base issuance that an epoch closed with; None where it has none, or what is no number of them.

    `pinned` is its spec as it was then.
    """
    stated = str(pinned.get("base_issuance_credits"))
    return int(stated) if _CREDITS.fullmatch(stated) and int(stated) <= MAX_CREDITS else None


def reserves_accounts(pins: EpochPins | None) -> bool:
    """Whether an epoch reserves the share of accounts without a user, by what it closed with; an open one (None) does.

    One that closed before there was such a pin shares its pool among users alone, as it always did.
    """
    return pins is None or CLAIMANTS in pins.pinned_spec


def pinned_source_refs(pinned: Mapping[str, Json]) -> frozenset[str]:
    """The source_scopes that an epoch was read from when it closed, of all sources."""
    sources = pinned.get(_SOURCES)
    of_sources = sources.values() if isinstance(sources, dict) else ()
    return frozenset(
        ref for of_source in of_sources if isinstance(of_source, dict) for ref in _texts(of_source.get("source_refs"))
    )


def allocation_algo_ref(credit_estimate_algo: str) -> str:
    """The allocation algorithm of a credit estimate. Raises ConfigurationError naming those there are."""
    try:
        return _ALLOCATION_ALGO_OF[credit_estimate_algo]
    except KeyError:
        names = ", ".join(_ALLOCATION_ALGO_OF)
        raise ConfigurationError(f"credit_estimate_algo {credit_estimate_algo!r} is not known: {names}") from None


def weight_config_hash(weights_milli: Mapping[str, int]) -> str:
    """SHA-256 hex over the canonical JSON of the weights."""
    return sha256_hex(dict(weights_milli))


def approver_set_hash(approvers: Sequence[str]) -> str:
    """SHA-256 hex over the approvers' addresses: lower case, sorted, joined by commas."""
    return sha256(",".join(sorted(address.lower() for address in approvers)).encode()).hexdigest()
