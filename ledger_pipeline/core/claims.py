"""Claims of all scopes of a node together: on which repository each is, and where the rest of it goes.

A claim names a repository and holds for it under every name that it ever had, as long as its scope collects it. A
repository that was made under such a name later is claimed too, for it is what the claim names now; the one of before
stays claimed until a claim names it by a name that is its own.
"""

from collections.abc import Collection
from dataclasses import dataclass

from ledger_pipeline.core.owners import owner_of
from ledger_pipeline.core.repository_names import NO_NAMES, KnownNames
from ledger_pipeline.core.routing import Claim, ClaimedRepository


@dataclass(frozen=True)
class CollectedNames:
    """What a scope collects: repositories by `names`, and all that `owners` have but for `excluded`; case folded."""

    scope_key: str
    names: frozenset[str]
    owners: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    def takes(self, latest_name: str, names: Collection[str], lost: Collection[str] = ()) -> bool:
        """Whether it collects a repository that is called `latest_name`, has all of `names`, and once had those `lost`.

        All are case folded.
        """
        if not self.names.isdisjoint(names):
            return True
        return owner_of(latest_name) in self.owners and self.excluded.isdisjoint({*names, *lost})


@dataclass(frozen=True)
class NodeClaims:
    """Every claim with the name of the repository as it is written, and what each scope collects, in their order."""

    claims: tuple[tuple[str, Claim], ...]
    scopes: tuple[CollectedNames, ...]

    def on(self, scope_key: str, names: KnownNames = NO_NAMES) -> tuple[ClaimedRepository, ...]:
        """What is claimed of the repositories that a scope collects, each by its latest name, as far as it is known.

        The rest of a repository goes to the first scope that collects it and claims nothing of it.
        """
        by_repository: dict[str, list[Claim]] = {}
        spelled: dict[str, str] = {}
        for name, claim in self.claims:
            latest_name = names.latest_name(name)
            by_repository.setdefault(spelled.setdefault(latest_name.casefold(), latest_name), []).append(claim)
        for latest_name, lost in names.lost.items():
            inherited = [claim for name, claim in self.claims if name.casefold() in lost]
            if inherited and latest_name not in spelled:
                by_repository[names.latest_name(latest_name)] = inherited
        return tuple(
            self._claimed(latest_name, claims, names)
            for latest_name, claims in by_repository.items()
            if scope_key in self._holding(latest_name, names)
        )

    def _claimed(self, latest_name: str, claims: Collection[Claim], names: KnownNames) -> ClaimedRepository:
        its_own, lost = names.of(latest_name), names.lost_by(latest_name)
        collecting = [scope.scope_key for scope in self.scopes if scope.takes(latest_name, its_own, lost)]
        # Of what nobody collects any more, it is decided by what it was.
        scope_keys = collecting or self._holding(latest_name, names)
        counting = tuple(claim for claim in claims if claim.scope_key in scope_keys)
        claiming = {claim.scope_key for claim in counting}
        rest = next((scope_key for scope_key in scope_keys if scope_key not in claiming), None)
        return ClaimedRepository(latest_name, counting, rest)

    def _holding(self, latest_name: str, names: KnownNames) -> list[str]:
        """The scopes that may hold anything of it: they collect it, or did under one of its names."""
        its_own, lost = names.of(latest_name), names.lost_by(latest_name)
        return [
            scope.scope_key
            for scope in self.scopes
            if scope.takes(latest_name, its_own, lost) or any(scope.takes(name, {name}) for name in its_own | lost)
        ]
