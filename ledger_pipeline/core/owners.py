"""Collecting from all of an owner: `acme/*` in source_refs, and which of the owner's source_scopes that takes."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

ALL = "/*"


def owner_of(name: str) -> str:
    """Whose a source_scope is, or a reference to all of an owner's, in lower case: `acme` of `Acme/site`."""
    return name.partition("/")[0].casefold()


def is_owner_ref(source_ref: str) -> bool:
    """Whether it stands for all of an owner's source_scopes."""
    return source_ref.endswith(ALL)


@dataclass(frozen=True)
class ListedSourceScope:
    """A source_scope of an owner, as the source lists it; `source_scope_id` is the source's own id of it."""

    source_scope: str
    source_scope_id: str | None
    is_archived: bool = False
    is_fork: bool = False


@dataclass(frozen=True)
class OwnerRules:
    """References to all that owners have (`refs`, as `acme/*`), and what of it is left out.

    `exclude` names source_scopes. A fork is taken only with `include_forks`. One that is archived when it is first
    listed is taken only with `include_archived`; one that is archived later stays, for what was done there before.
    """

    refs: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    include_archived: bool = False
    include_forks: bool = False

    def takes(self, listed: ListedSourceScope, *, found_archived: bool, names: Collection[str] = ()) -> bool:
        """Whether it is collected; `found_archived` says whether it was archived when it was first listed.

        What has, or had, an excluded one of its `names` is left out under the others too.
        """
        excluded = {name.casefold() for name in self.exclude}
        if not excluded.isdisjoint(name.casefold() for name in (listed.source_scope, *names)):
            return False
        if listed.is_fork and not self.include_forks:
            return False
        return self.include_archived or not (listed.is_archived and found_archived)


def each_once(names: Iterable[str]) -> tuple[str, ...]:
    """`names` in their order, each in the spelling that comes first."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(name.casefold(), name)
    return tuple(by_name.values())
