"""Claims of all files together: who claims what of which repository, and where the rest of it goes."""

from collections.abc import Sequence
from dataclasses import replace

from ledger_pipeline.core.claims import CollectedNames, NodeClaims
from ledger_pipeline.core.errors import SpecError
from ledger_pipeline.core.owners import is_owner_ref, owner_of
from ledger_pipeline.core.routing import Claim, Routing
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.repo_spec_claims import ClaimSection


def routed_scopes(scopes: Sequence[Scope], claims: Sequence[Sequence[ClaimSection]]) -> tuple[Scope, ...]:
    """`scopes`, the default one first, each with all claims on what it collects; `claims` are each scope's own.

    Raises SpecError for a claim on what its scope does not collect.
    """
    collected = {scope.scope_key: _collected(scope) for scope in scopes}
    of_node: list[tuple[str, Claim]] = []
    for scope, sections in zip(scopes, claims, strict=True):
        for number, section in enumerate(sections):
            name = section.repository.casefold()
            if is_owner_ref(name) or not collected[scope.scope_key].takes(name, {name}):
                problem = f"{section.repository!r} is not valid: one of what the scope collects, in source_refs"
                raise SpecError(scope.file, f"activity_ledger.claims[{number}].repository", problem)
            claim = Claim(scope.scope_key, section.paths, section.labels, section.order, section.shared)
            of_node.append((section.repository, claim))
    if not of_node:
        return tuple(scopes)
    node_claims = NodeClaims(tuple(of_node), tuple(collected.values()))
    return tuple(_routed(replace(scope, claims=node_claims), node_claims) for scope in scopes)


def _routed(scope: Scope, claims: NodeClaims) -> Scope:
    repositories = claims.on(scope.scope_key)
    if not repositories:
        return scope
    # Decisions on events are a policy's: where none is named, that is the one by which every event counts.
    selection = scope.selection or installed_policy(INCLUDE_ALL_V0).choice({}, ())
    return replace(scope, selection=replace(selection, routing=Routing(scope.scope_key, repositories)))


def _collected(scope: Scope) -> CollectedNames:
    return CollectedNames(
        scope.scope_key,
        frozenset(name.casefold() for spec in scope.sources for name in spec.source_scopes),
        frozenset(owner_of(ref) for spec in scope.sources for ref in spec.owners.refs),
        frozenset(name.casefold() for spec in scope.sources for name in spec.owners.exclude),
    )
