"""`.cogni/repo-spec.yaml` and `.cogni/projects/*.yaml` -> core types. The one file that reads how they are written.

Sections of others (`gates`, `payments_in`, ...) are ignored. Inside the sections we own an unknown key is an error,
because a misspelt key that is silently ignored is money paid by a default nobody chose; what is different in files that
the system we join writes, `repo_spec_dialect.py` says.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import yaml
from pydantic import ValidationError

from ledger_pipeline.core.approvals import APPROVAL_THRESHOLD, why_no_threshold
from ledger_pipeline.core.errors import SelectionError, SpecError, WindowError
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.sources import source_kinds
from ledger_pipeline.core.spec import Dialect, RepoSpec, ScheduleSpec, Scope, SourceSpec
from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.installed_sources import know_installed
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.repo_spec_claims import unique_ignoring_case
from ledger_pipeline.repo_spec_dialect import dialect_of, scope_id_of, selection_of, take_out, weights_of
from ledger_pipeline.repo_spec_problems import error_of_all, keys_of_others, spec_error
from ledger_pipeline.repo_spec_routing import routed_scopes
from ledger_pipeline.repo_spec_shape import (
    GovernanceSection,
    ProjectFile,
    RepoSpecFile,
    ScopeFile,
    SelectionSection,
    over_sources,
)
from ledger_pipeline.shallow_yaml import ShallowLoader

PROJECTS_FOLDER = "projects"


def load_repo_spec(path: Path) -> RepoSpec:
    """The node's specification: the repo-spec at `path` and the projects beside it.

    Raises SpecError naming file, key, value and what would be right, for every key of every file that cannot be what
    it is; where each can, for the first of what does not go together.
    """
    problems: list[SpecError] = []
    notes: list[str] = []
    shape = _parse(path, RepoSpecFile, problems, notes)
    files = sorted((path.parent / PROJECTS_FOLDER).glob("*.y*ml"))
    projects = [(file, _parse(file, ProjectFile, problems, notes)) for file in files]
    if shape is None or problems:
        raise error_of_all(problems)
    schedules = _schedules(path, shape.governance)
    chain_id = _chain_id(shape.governance, None)
    scopes = [_scope(path, shape, shape.node_id, schedules, chain_id)]
    for file, project in projects:
        if project is not None:
            scopes.append(_project_scope(file, project, shape.node_id, schedules, chain_id))
            _refuse_clash(scopes[-1], scopes[:-1])
    claims = [shape.activity_ledger.claims, *(project.activity_ledger.claims for _, project in projects if project)]
    return RepoSpec(shape.node_id, routed_scopes(scopes, claims), str(path), tuple(notes))


# Reading: one message that has every problem of the input.


_FileT = TypeVar("_FileT", bound=ScopeFile)


class _StrictLoader(ShallowLoader):
    """A safe loader that refuses a key given twice, where PyYAML silently keeps the last, and raises only YAMLError."""

    # Checked as written: `<<`, which the sections of others may use, brings in keys that may be given again.
    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if key.tag == "tag:yaml.org,2002:str"):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return node

    # 2026-02-30 looks like a date, so PyYAML hands it to date(), whose ValueError it lets pass; likewise for others.
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            problem = f"{node.value!r} is not a valid {kind}: {error}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def _parse(path: Path, shape: type[_FileT], problems: list[SpecError], notes: list[str]) -> _FileT | None:
    """The file as `shape`; None where it cannot be, having added to `problems` why. What it ignores is in `notes`."""
    try:
        return _shaped(path, shape, notes)
    except SpecError as error:
        problems.append(error)
        return None


def _shaped(path: Path, shape: type[_FileT], notes: list[str]) -> _FileT:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError as error:
        raise SpecError(str(path), "", "there is no such file: set LEDGER_REPO_SPEC to your repo-spec") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), "", f"cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise SpecError(str(path), "", f"is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise SpecError(str(path), "", "is not a mapping of keys: it should start with node_id, scope_id, scope_key")
    know_installed(_source_names(content))
    dialect = dialect_of(path, content)
    whole_shape: type[_FileT] = over_sources(shape, source_kinds(), dialect)
    return _validated(path, whole_shape, content, dialect, notes)


def _validated(path: Path, shape: type[_FileT], content: dict[Any, Any], dialect: Dialect, notes: list[str]) -> _FileT:
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        ignored = keys_of_others(shape, error) if dialect is Dialect.ATTRIBUTION_PIPELINE else []
        if not ignored:
            raise spec_error(path, shape, error) from error
    notes.append(take_out(path, content, ignored))
    return _validated(path, shape, content, dialect, notes)


def _source_names(content: dict[Any, Any]) -> list[str]:
    """What the file collects from, as far as that can be read: whether it is right is the shape's to say."""
    ledger = content.get("activity_ledger")
    sources = ledger.get("activity_sources") if isinstance(ledger, dict) else None
    return [name for name in sources if isinstance(name, str)] if isinstance(sources, dict) else []


# Shapes -> core types.


def _scope(
    path: Path, shape: ScopeFile, node_id: UUID, inherited: tuple[ScheduleSpec, ...], chain_id: int | None
) -> Scope:
    ledger = shape.activity_ledger
    try:
        EpochCalendar(ledger.epoch_length_days).window_starting(ledger.first_epoch)
    except WindowError as error:
        raise SpecError(str(path), "activity_ledger.first_epoch", str(error)) from error
    sections = ledger.activity_sources.by_source()
    dialect = next(iter(sections.values())).dialect
    if len({section.credit_estimate_algo for section in sections.values()}) > 1:
        problem = f"have different {dialect}, and an epoch is allocated by one"
        raise SpecError(str(path), "activity_ledger.activity_sources", f"{', '.join(sections)} {problem}")
    approvers = shape.ledger.approvers if ledger.approvers is None else ledger.approvers
    unfit = why_no_threshold(ledger.approval_threshold, len(approvers))
    if unfit is not None:
        raise SpecError(str(path), f"activity_ledger.{APPROVAL_THRESHOLD}", f"{ledger.approval_threshold}: {unfit}")
    return Scope(
        scope_id=scope_id_of(shape, node_id),
        scope_key=shape.scope_key,
        epoch_length_days=ledger.epoch_length_days,
        first_epoch=ledger.first_epoch,
        sources=tuple(
            SourceSpec(source, section.credit_estimate_algo, section.source_scopes, section.streams, section.owners)
            for source, section in sections.items()
        ),
        approvers=approvers,
        approval_threshold=ledger.approval_threshold,
        base_issuance_credits=ledger.pool_config.base_issuance_credits if ledger.pool_config else None,
        auto_close_grace_hours=ledger.auto_close_grace_hours,
        weights_milli={**weights_of(sections), **ledger.weights_milli},
        schedules=inherited if shape.governance is None else _schedules(path, shape.governance),
        file=str(path),
        selection=_selection(path, selection_of(sections, ledger.selection)),
        dialect=dialect,
        chain_id=_chain_id(shape.governance, chain_id),
    )


def _selection(path: Path, section: SelectionSection | None) -> SelectionChoice | None:
    """The policy that is named, with all its settings; None where every event counts."""
    if section is None:
        return None
    key = "activity_ledger.selection"
    if section.policy == INCLUDE_ALL_V0:
        if section.settings or section.excluded_logins:
            raise SpecError(
                str(path), key, f"{INCLUDE_ALL_V0} has no settings and excludes nobody: name another policy"
            )
        return None
    try:
        installed = installed_policy(section.policy)
    except SelectionError as error:
        raise SpecError(str(path), f"{key}.policy", str(error)) from error
    try:
        return installed.choice(section.settings, section.excluded_logins)
    except SelectionError as error:
        raise SpecError(str(path), f"{key}.settings", str(error)) from error


def _project_scope(
    path: Path, shape: ProjectFile, node_id: UUID, inherited: tuple[ScheduleSpec, ...], chain_id: int | None
) -> Scope:
    if shape.node_id not in (None, node_id):
        raise SpecError(str(path), "node_id", f"{shape.node_id} is another node; leave it out, or give {node_id}")
    return _scope(path, shape, node_id, inherited, chain_id)


def _chain_id(governance: GovernanceSection | None, of_node: int | None) -> int | None:
    """The chain that the section names, else that of the node."""
    return of_node if governance is None or governance.chain_id is None else governance.chain_id


def _schedules(path: Path, governance: GovernanceSection | None) -> tuple[ScheduleSpec, ...]:
    schedules = governance.schedules if governance else ()
    try:
        unique_ignoring_case(tuple(schedule.charter for schedule in schedules))
    except ValueError as error:
        raise SpecError(str(path), "governance.schedules", f"charters must be there {error}") from error
    return tuple(
        ScheduleSpec(schedule.charter, schedule.cron, schedule.timezone, schedule.entrypoint) for schedule in schedules
    )


def _refuse_clash(scope: Scope, others: Iterable[Scope]) -> None:
    for sibling in others:
        for key in ("scope_id", "scope_key"):
            if getattr(scope, key) == getattr(sibling, key):
                raise SpecError(scope.file, key, f"{getattr(scope, key)} is taken by {sibling.file}")
        if scope.epoch_length_days != sibling.epoch_length_days:
            raise SpecError(
                scope.file,
                "activity_ledger.epoch_length_days",
                f"{scope.epoch_length_days} differs from the {sibling.epoch_length_days} of {sibling.file}: "
                "the scopes of a node share their epoch windows",
            )
