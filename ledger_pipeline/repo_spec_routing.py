"""Claims of all files together: who claims what of which repository, and where the rest of it goes."""

from collections.abc import Sequence
from dataclasses import replace

from ledger_pipeline.core.errors import SpecError
from ledger_pipeline.core.owners import is_owner_ref, owner_of
from ledger_pipeline.core.routing import Claim, ClaimedRepository, Routing
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.repo_spec_claims import ClaimSection


def routed_scopes(scopes: Sequence[Scope], claims: Sequence[Sequence[ClaimSection]]) -> tuple[Scope, ...]:
    """`scopes`, the default one first, each with all claims on what it collects; `claims` are each scope's own.

    The rest of a repository goes to the first scope that collects it and claims nothing of it. Raises SpecError for a
    claim on what its scope does not collect.
    """
    by_repository: dict[str, list[Claim]] = {}
    names: dict[str, str] = {}
    for scope, sections in zip(scopes, claims, strict=True):
        for number, section in enumerate(sections):
            if not _collects(scope, section.repository):
                problem = f"{section.repository!r} is not valid: one of what the scope collects, in source_refs"
                raise SpecError(scope.file, f"activity_ledger.claims[{number}].repository", problem)
            claim = Claim(scope.scope_key, section.paths, section.labels, section.order, section.shared)
            name = names.setdefault(section.repository.casefold(), section.repository)
            by_repository.setdefault(name, []).append(claim)
    claimed = [ClaimedRepository(name, tuple(of), _rest(scopes, name, of)) for name, of in by_repository.items()]
    return tuple(_routed(scope, claimed) for scope in scopes)


def _rest(scopes: Sequence[Scope], repository: str, claims: Sequence[Claim]) -> str | None:
    claiming = {claim.scope_key for claim in claims}
    collecting = (scope.scope_key for scope in scopes if _collects(scope, repository))
    return next((scope_key for scope_key in collecting if scope_key not in claiming), None)


def _routed(scope: Scope, claimed: Sequence[ClaimedRepository]) -> Scope:
    repositories = tuple(repository for repository in claimed if _collects(scope, repository.name))
    if not repositories:
        return scope
    # Decisions on events are a policy's: where none is named, that is the one by which every event counts.
    selection = scope.selection or installed_policy(INCLUDE_ALL_V0).choice({}, ())
    return replace(scope, selection=replace(selection, routing=Routing(scope.scope_key, repositories)))


def _collects(scope: Scope, repository: str) -> bool:
    """Whether the scope names it, or collects all that its owner has."""
    name = repository.casefold()
    for spec in scope.sources:
        if name in {source_scope.casefold() for source_scope in spec.source_scopes}:
            return True
        of_owner = owner_of(name) in set(map(owner_of, spec.owners.refs)) and not is_owner_ref(name)
        if of_owner and name not in {excluded.casefold() for excluded in spec.owners.exclude}:
            return True
    return False
