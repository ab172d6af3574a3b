"""Which scope an event of a repository counts for, where several scopes of a node collect it and claim parts of it.

Pure: labels and changed paths of an event and the claims of all scopes in, one scope out, or several with shares that
sum to WHOLE_MILLI. The order in which claims are written never matters.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice

from ledger_pipeline.core.facts import IssueFacts, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.selection.policy import WHOLE_MILLI, Candidate, Part

DEFAULT_ORDER = 100

CLAIMED = "claimed"
SHARED = "shared"
REST = "rest"
OTHER_SCOPE = "other_scope"
UNCLAIMED = "unclaimed"
UNCLAIMED_UNKNOWN = "unclaimed_unknown"
NOT_ROUTED = "not_routed"
SENTENCES: Mapping[str, str] = {
    SHARED: "Several scopes claim it and share it, those that the reason names: it counts here for this scope's part.",
    OTHER_SCOPE: "It counts for another scope of the node, which the reason names: that one claims it.",
    UNCLAIMED: "No scope claims it, and no scope takes the rest of its repository.",
    UNCLAIMED_UNKNOWN: "No scope claims it as far as is known: its labels or paths, by which one may, are unknown.",
    NOT_ROUTED: "Nobody knew of it when the epoch closed, so that it was routed to no scope.",
}
"""One sentence for each reason by which an event does not count whole; `other_scope:docs` names the scope."""


def code_of(reason: str) -> str:
    """A reason without the scope that it names."""
    return reason.partition(":")[0]


@dataclass(frozen=True)
class Claim:
    """What a scope takes of a repository: events with one of `labels` (in any case), or that change one of `paths`.

    All of it where neither is given. Of several claims that take an event, the lowest `order` counts, of equal ones the
    scope_key that comes first, and of one scope's the one that is not shared. Where the claim that counts is `shared`,
    the event is shared among all shared claims that take it.
    """

    scope_key: str
    paths: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    order: int = DEFAULT_ORDER
    is_shared: bool = False

    def takes(self, labels: Collection[str] | None, paths: Collection[str] | None) -> bool | None:
        """Whether it takes an event with these; None where that is not known."""
        if not self.labels and not self.paths:
            return True
        wanted = {label.casefold() for label in self.labels}
        if labels is not None and any(label.casefold() in wanted for label in labels):
            return True
        if paths is not None and any(_glob(glob).fullmatch(path) for glob in self.paths for path in paths):
            return True
        return None if (self.labels and labels is None) or (self.paths and paths is None) else False


@dataclass(frozen=True)
class ClaimedRepository:
    """A repository that scopes claim parts of; `rest` is the scope that has the rest of it, None where none has.

    `name` is as a claim spells it, or the repository's latest one where that is known.
    """

    name: str
    claims: tuple[Claim, ...]
    rest: str | None


@dataclass(frozen=True)
class Route:
    """What each scope has of an event, by scope_key: parts that sum to WHOLE_MILLI, or none, and why."""

    shares_milli: Mapping[str, int]
    reason: str


@dataclass(frozen=True)
class RoutedBy:
    """What claims looked at of an event: the labels that one of them names, and of each glob the first path it takes.

    None where that is unknown. A claim takes an event of these if it takes the event of all that it has.
    `repository` is the name by which the node stored the event first, where the scope has it by another: what is called
    so by now may be another repository.
    """

    labels: tuple[str, ...] | None = ()
    paths: tuple[str, ...] | None = ()
    repository: str | None = None


@dataclass(frozen=True)
class Share:
    """What one scope has of an event: `milli` of WHOLE_MILLI, why, and what of its facts that follows from.

    `routed_by` is None in an epoch that closed before it was kept.
    """

    milli: int
    reason: str
    routed_by: RoutedBy | None = None


@dataclass(frozen=True)
class Routing:
    """The claims of a node's scopes on what the scope `scope_key` collects.

    `repositories` are by the names that the repo-spec has. `shares` say by event id what the scope has of each event of
    a claimed repository, once that is known; an epoch closes with their `shares_hash`. `names` give other names of a
    repository, case folded, its latest; the claims by latest names are then `resolved`, where they are others.
    `is_of_before` in an epoch that closed when shares were kept without what they follow from.
    """

    scope_key: str
    repositories: tuple[ClaimedRepository, ...]
    shares: Mapping[str, Share] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    resolved: tuple[ClaimedRepository, ...] | None = None
    shares_hash: str | None = None
    is_of_before: bool = False

    @property
    def has_claims(self) -> bool:
        """Whether anybody claims anything of what the scope collects."""
        return bool(self.repositories if self.resolved is None else self.resolved)

    def asks_paths(self, repository: str) -> bool:
        """Whether changed paths decide about what is done in the repository."""
        claimed = self.claimed(repository)
        return claimed is not None and any(claim.paths for claim in claimed.claims)

    @property
    def repositories_by_path(self) -> frozenset[str]:
        """All names, case folded, of repositories of which changed paths decide about what is done."""
        repositories = self.repositories if self.resolved is None else self.resolved
        names = {*self.names, *(claimed.name.casefold() for claimed in repositories)}
        return frozenset(filter(self.asks_paths, names))

    def claimed(self, repository: str) -> ClaimedRepository | None:
        """The claims on a repository, by any of its names, in any case; None where nobody has any."""
        name = self.latest_name(repository).casefold()
        repositories = self.repositories if self.resolved is None else self.resolved
        return next((claimed for claimed in repositories if claimed.name.casefold() == name), None)

    def latest_name(self, repository: str) -> str:
        """What the repository is called now, as far as that is known."""
        return self.names.get(repository.casefold(), repository)

    def renamed(self, event: Candidate) -> Candidate:
        """The event as of its repository's latest name, so that what was done under two names is of one."""
        name = self.latest_name(event.repository)
        return event if name == event.repository else replace(event, repository=name)

    def resolved_by(self, names: Mapping[str, str], repositories: tuple[ClaimedRepository, ...]) -> "Routing":
        """The same with what is known of `names`, of which it keeps those of before, and claims by the latest."""
        renamed = {name: latest for name, latest in sorted(names.items()) if latest.casefold() != name}
        is_as_written = _without_case(repositories) == _without_case(self.repositories)
        return replace(self, names=renamed, resolved=None if is_as_written else repositories)

    def share(self, event: Candidate) -> Share:
        """What the scope has of an event: all of it where nobody claims its repository."""
        stated = (self.shares or {}).get(event.event_id)
        if self.is_of_before or stated is None:
            if self.claimed(event.repository) is None:
                return Share(WHOLE_MILLI, REST)
            return stated or Share(0, NOT_ROUTED)
        return stated

    def part(self, share: Share) -> Part | None:
        """Which of the parts of an event that several scopes share this one has; None where it is no such part."""
        code, _, names = share.reason.partition(":")
        scope_keys = sorted(names.split("+"))
        if code != SHARED or self.is_of_before or self.scope_key not in scope_keys:
            return None
        return Part(scope_keys.index(self.scope_key), len(scope_keys))

    def routed(self, events: Iterable[Candidate], first_names: Mapping[str, str] | None = None) -> "Routing":
        """The same with shares of `events`, whose facts are those that every scope of the node routes by.

        `first_names` are, by event id, the repositories as the node stored those events first that the scope has by
        another name.
        """
        shares = {}
        for event in events:
            first_name = None if self.is_of_before else (first_names or {}).get(event.event_id)
            claimed = self.claimed(first_name or event.repository)
            if claimed is not None or (first_name is not None and self.claimed(event.repository) is not None):
                by = replace(routed_by(claimed, *labels_and_paths(event)), repository=first_name)
                shares[event.event_id] = self.share_by(claimed, by)
        return replace(self, shares=shares)

    def share_by(self, claimed: ClaimedRepository | None, by: RoutedBy) -> Share:
        """What the scope has of an event of the repository, by what the claims on it look at; all of it of None."""
        if claimed is None:
            return Share(WHOLE_MILLI, REST, by)
        routed = route(claimed, by.labels, by.paths)
        if self.is_of_before:
            return _share(self.scope_key, routed)
        share = _share(self.scope_key, routed)
        reason = f"{SHARED}:{'+'.join(sorted(routed.shares_milli))}" if share.reason == SHARED else share.reason
        return Share(share.milli, reason, by)


def _without_case(repositories: Iterable[ClaimedRepository]) -> list[ClaimedRepository]:
    return [replace(claimed, name=claimed.name.casefold()) for claimed in repositories]


def route(claimed: ClaimedRepository, labels: Collection[str] | None, paths: Collection[str] | None) -> Route:
    """Where an event of the repository goes; unknown labels and paths are None."""
    taken = [(claim, claim.takes(labels, paths)) for claim in claimed.claims]
    taking = sorted(
        (claim for claim, takes in taken if takes), key=lambda claim: (claim.order, claim.scope_key, claim.is_shared)
    )
    if taking and taking[0].is_shared:
        scope_keys = sorted({claim.scope_key for claim in taking if claim.is_shared})
        whole, more = divmod(WHOLE_MILLI, len(scope_keys))
        shares = {scope_key: whole + (n < more) for n, scope_key in enumerate(scope_keys)}
        return Route(shares, SHARED if len(shares) > 1 else CLAIMED)
    if taking:
        return Route({taking[0].scope_key: WHOLE_MILLI}, CLAIMED)
    if claimed.rest is not None:
        return Route({claimed.rest: WHOLE_MILLI}, REST)
    return Route({}, UNCLAIMED if all(takes is False for _, takes in taken) else UNCLAIMED_UNKNOWN)


def routed_by(
    claimed: ClaimedRepository | None, labels: Collection[str] | None, paths: Collection[str] | None
) -> RoutedBy:
    """What the claims on the repository look at of an event with these; unknown labels and paths are None.

    What no claim asks for is nothing, and not unknown.
    """
    if claimed is None:
        return RoutedBy()
    wanted = {label.casefold() for claim in claimed.claims for label in claim.labels}
    globs = {glob for claim in claimed.claims for glob in claim.paths}
    if not wanted:
        labels = ()
    if not globs:
        paths = ()
    in_order = None if paths is None else sorted(paths)
    return RoutedBy(
        None if labels is None else tuple(sorted(label for label in set(labels) if label.casefold() in wanted)),
        None if in_order is None else tuple(sorted({path for glob in globs for path in _first_taken(glob, in_order)})),
    )


def _first_taken(glob: str, paths: Iterable[str]) -> Iterable[str]:
    return islice(filter(_glob(glob).fullmatch, paths), 1)


def _share(scope_key: str, routed: Route) -> Share:
    if scope_key in routed.shares_milli or not routed.shares_milli:
        return Share(routed.shares_milli.get(scope_key, 0), routed.reason)
    return Share(0, f"{OTHER_SCOPE}:{'+'.join(sorted(routed.shares_milli))}")


def labels_and_paths(event: Candidate) -> tuple[Collection[str] | None, Collection[str] | None]:
    """The labels and changed paths of an event, each None where it is unknown.

    An issue changes no path; reviews have what their pull request has.
    """
    facts = event.facts
    if isinstance(facts, IssueFacts):
        return facts.labels, ()
    if isinstance(facts, PullRequestFacts | ReviewFacts):
        return facts.labels, facts.changed_paths
    return None, None


@cache
def _glob(glob: str) -> re.Pattern[str]:
    """`*` and `?` stand for anything within a part of the path, `**` for any number of parts."""
    pattern = ""
    for step in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", glob):
        pattern += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(step) or re.escape(step)
    return re.compile(pattern, re.DOTALL)
