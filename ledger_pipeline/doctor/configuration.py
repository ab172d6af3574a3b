"""What files and environment say: the repo-spec, and whose this deployment is."""

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import ConfigurationError, LedgerError, SpecError
from ledger_pipeline.core.owners import is_owner_ref
from ledger_pipeline.core.public_keys import why_no_approvers
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.doctor.findings import Finding, failed, fine, skipped, warning
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.schedules.plan import desired

REPO_SPEC = "repo-spec"
IDENTITY = "identity"


def check_repo_spec(settings: Settings) -> tuple[Finding, RepoSpec | None]:
    """The repo-spec can be read, and its schedules are ones that Temporal takes."""
    remedy = "correct the file at that key"
    try:
        path = settings.repo_spec_path
    except SpecError as error:
        remedy = "write .cogni/repo-spec.yaml (README: Your own repositories), or set LEDGER_REPO_SPEC to yours"
        return failed(REPO_SPEC, error, remedy), None
    if not path.is_file():
        return failed(REPO_SPEC, f"{path} is not there", "set LEDGER_REPO_SPEC to your repo-spec"), None
    try:
        spec = load_repo_spec(path)
        schedules = desired(spec).schedules
    except LedgerError as error:
        return failed(REPO_SPEC, error, remedy), None
    if not settings.is_simulated:
        for scope in spec.scopes:
            problem = why_no_approvers(scope)
            if problem is not None:
                return failed(
                    REPO_SPEC,
                    f"scope {scope.scope_key}: {problem}",
                    "name others in approvers: until then no epoch closes",
                ), spec
    of_github = source_refs_of(spec, GITHUB)
    repositories, owners = [ref for ref in of_github if not is_owner_ref(ref)], [*filter(is_owner_ref, of_github)]
    of_others = [
        *([f"all of {', '.join(owners)}"] if owners else []),
        *(
            f"{len(source_refs_of(spec, kind.name))} source_refs of {kind.name}"
            for kind in spec.source_kinds
            if kind.name != GITHUB
        ),
    ]
    keys = ", ".join(scope.scope_key for scope in spec.scopes)
    collected = ", ".join([counted(len(repositories), "repository", "repositories"), *of_others])
    seen = f"{path}: scopes {keys}; {collected}, {counted(len(schedules), 'schedule')}"
    if not repositories and not of_others:
        return warning(REPO_SPEC, seen, "name repositories in activity_sources.github.source_refs"), spec
    if spec.notes:
        remedy = "nothing, where these keys are meant for others; else correct them"
        return warning(REPO_SPEC, "; ".join((seen, *spec.notes)), remedy), spec
    return fine(REPO_SPEC, seen), spec


def check_identity(settings: Settings, spec: RepoSpec | None) -> Finding:
    """NODE_ID and SCOPE_ID are the repo-spec's."""
    if spec is None:
        return skipped(IDENTITY, "the repo-spec cannot be read")
    wanted = f"NODE_ID={spec.node_id} SCOPE_ID={spec.default_scope.scope_id}"
    try:
        settings.repo_spec()
    except ConfigurationError as error:
        return failed(IDENTITY, error, f"set {wanted}, or point LEDGER_REPO_SPEC at the repo-spec of that node")
    unset = [name for name, given in (("NODE_ID", settings.node_id), ("SCOPE_ID", settings.scope_id)) if given is None]
    if unset:
        return warning(IDENTITY, f"{' and '.join(unset)} not set: a worker would not start", f"set {wanted}")
    return fine(IDENTITY, f"node {spec.node_id}, scope {spec.default_scope.scope_id}")


def source_refs_of(spec: RepoSpec, source: str) -> list[str]:
    """Every source_ref that any scope collects from `source`, once."""
    collected = (scope.source_spec(source) for scope in spec.scopes)
    return list(dict.fromkeys(ref for spec in collected if spec is not None for ref in spec.source_refs))
