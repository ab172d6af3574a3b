"""Which policy decides, with all that it decides by: as the spec names it now, or as an epoch closed with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ledger_pipeline.core import routing_pins
from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.routing import Routing, Share
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.selection.policy import SelectionPolicy, SelectionSpec, later_settings, select

PINNED_AS = "selection"
_TEXTS = ("policy", "version", "distribution", "distribution_version")
_ROUTING = "routing"
_LISTS = ("excluded_logins", "excluded_ids")


@dataclass(frozen=True)
class SelectionChoice:
    """A policy by name and version, the distribution that it comes with, and what the spec says that it decides by.

    `settings` are all that the policy has, with the defaults filled in. `excluded_ids` are the numeric ids of
    `excluded_logins`, which are known once an epoch closes. A spec that names no policy has no choice: every event
    counts. `routing` has the claims of all scopes on what this one collects, and names of renamed repositories; None
    where there are none.
    """

    policy: str
    version: str
    distribution: str
    distribution_version: str
    settings: Mapping[str, Json]
    excluded_logins: tuple[str, ...] = ()
    excluded_ids: tuple[str, ...] = ()
    routing: Routing | None = None

    def with_ids(self, excluded_ids: tuple[str, ...]) -> "SelectionChoice":
        """The same, with the numeric ids that its logins have."""
        return replace(self, excluded_ids=excluded_ids)

    def with_shares(self, shares: Mapping[str, Share]) -> "SelectionChoice":
        """The same, with the parts of events that an epoch which closed with it keeps beside its spec, if it does.

        Raises SelectionError where they are not those that it closed with.
        """
        return self if self.routing is None else replace(self, routing=routing_pins.with_shares(self.routing, shares))

    def spec(self, weights_milli: Mapping[str, int]) -> SelectionSpec:
        """What the policy decides by. Its repositories are all: an epoch holds events of those that it collected."""
        return SelectionSpec(
            weights_milli,
            self.settings,
            excluded_logins=self.excluded_logins,
            excluded_ids=self.excluded_ids,
        )

    @property
    def named(self) -> dict[str, Json]:
        """The part that people choose in the repo-spec, by which two choices are compared."""
        return {
            "policy": self.policy,
            "version": self.version,
            "settings": dict(self.settings),
            "excluded_logins": list(self.excluded_logins),
            **(
                {}
                if self.routing is None or not self.routing.repositories
                else {_ROUTING: routing_pins.rules(self.routing)}
            ),
        }

    @property
    def pinned(self) -> dict[str, Json]:
        """What is pinned of it when an epoch closes."""
        return {
            **self.named,
            "distribution": self.distribution,
            "distribution_version": self.distribution_version,
            "excluded_ids": list(self.excluded_ids),
            **({} if self.routing is None else {_ROUTING: routing_pins.pinned(self.routing)}),
        }


def pinned_choice(pinned_spec: Mapping[str, Any]) -> SelectionChoice | None:
    """The policy that an epoch closed with, from its spec as it was then; None where every event counts.

    Raises SelectionError for what is none: whoever may write to the ledger may have pinned it.
    """
    if PINNED_AS not in pinned_spec:
        return None
    pinned = pinned_spec[PINNED_AS]
    if not isinstance(pinned, Mapping) or pinned.keys() - {_ROUTING} != {*_TEXTS, *_LISTS, "settings"}:
        raise SelectionError(f"what the epoch closed with has other members of {PINNED_AS} than a selection policy has")
    if (
        not all(isinstance(pinned[name], str) for name in _TEXTS)
        or not isinstance(pinned["settings"], Mapping)
        or not all(_is_texts(pinned[name]) for name in _LISTS)
    ):
        raise SelectionError(f"what the epoch closed with has members of {PINNED_AS} that are of another type")
    return SelectionChoice(
        **{name: pinned[name] for name in _TEXTS},
        settings=dict(pinned["settings"]),
        excluded_logins=tuple(pinned["excluded_logins"]),
        excluded_ids=tuple(pinned["excluded_ids"]),
        routing=routing_pins.pinned_routing(pinned[_ROUTING]) if _ROUTING in pinned else None,
    )


def named_part(pinned: Mapping[str, Json], choice: SelectionChoice | None) -> dict[str, Json] | None:
    """What was pinned, without what nobody names: as `named` has it, to be compared with `choice`.

    None where nobody named a policy: claims held for what the scope collects under other names than they have.
    """
    routing = pinned.get(_ROUTING)
    has_claims = isinstance(routing, Mapping) and bool(routing.get("repositories"))
    if choice is None:
        is_of_names = isinstance(routing, Mapping) and not has_claims and pinned.get("policy") == INCLUDE_ALL_V0
        return None if is_of_names else dict(pinned)
    named = {name: pinned.get(name) for name in choice.named if name != _ROUTING}
    if isinstance(routing, Mapping) and has_claims:
        named[_ROUTING] = {name: routing[name] for name in ("scope", "repositories") if name in routing}
    return named


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def completed_settings(policy: SelectionPolicy, given: Mapping[str, Json]) -> dict[str, Json]:
    """All of the policy's settings: what is `given`, and the defaults for the rest, also of a setting's members.

    A later setting is among them only where it is not the default.
    Raises SelectionError naming the setting that is wrong.
    """
    settings = dict(policy.default_settings)
    for name, value in given.items():
        default = settings.get(name)
        merges = isinstance(default, Mapping) and isinstance(value, Mapping)
        settings[name] = {**default, **value} if merges else value  # type: ignore[dict-item]
    select(policy, (), SelectionSpec({}, settings))
    later = later_settings(policy)
    return {name: value for name, value in settings.items() if name not in later or value != later[name]}
