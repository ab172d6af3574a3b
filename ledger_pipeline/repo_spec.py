"""`.cogni/repo-spec.yaml` and `.cogni/projects/*.yaml` -> core types. The one file that knows how they are written.

Sections of others (`gates`, `payments_in`, ...) are ignored. Inside the sections we own an unknown key is an error,
because a misspelt key that is silently ignored is money paid by a default nobody chose.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args
from uuid import UUID

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ledger_pipeline.core.errors import SelectionError, SpecError, WindowError
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.selection.include_all import INCLUDE_ALL_V0
from ledger_pipeline.core.sources import source_kinds
from ledger_pipeline.core.spec import RepoSpec, ScheduleSpec, Scope, SourceSpec
from ledger_pipeline.core.weights import default_weights_milli
from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.installed_sources import know_installed
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.repo_spec_claims import unique_ignoring_case
from ledger_pipeline.repo_spec_routing import routed_scopes
from ledger_pipeline.repo_spec_shape import (
    GovernanceSection,
    ProjectFile,
    RepoSpecFile,
    ScopeFile,
    SelectionSection,
    over_sources,
)

PROJECTS_FOLDER = "projects"


def load_repo_spec(path: Path) -> RepoSpec:
    """The node's specification: the repo-spec at `path` and the projects beside it.

    Raises SpecError naming file, key, value and what would be right, for every key of every file that cannot be what
    it is; where each can, for the first of what does not go together.
    """
    problems: list[SpecError] = []
    shape = _parse(path, RepoSpecFile, problems)
    files = sorted((path.parent / PROJECTS_FOLDER).glob("*.y*ml"))
    projects = [(file, _parse(file, ProjectFile, problems)) for file in files]
    if shape is None or problems:
        raise _all_of(problems)
    schedules = _schedules(path, shape.governance)
    scopes = [_scope(path, shape, schedules)]
    for file, project in projects:
        if project is not None:
            scopes.append(_project_scope(file, project, shape.node_id, schedules))
            _refuse_clash(scopes[-1], scopes[:-1])
    claims = [shape.activity_ledger.claims, *(project.activity_ledger.claims for _, project in projects if project)]
    return RepoSpec(node_id=shape.node_id, scopes=routed_scopes(scopes, claims), file=str(path))


# Reading: one message that has every problem of the input.


_FileT = TypeVar("_FileT", bound=ScopeFile)


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where PyYAML silently keeps the last, and raises only YAMLError."""

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


def _parse(path: Path, shape: type[_FileT], problems: list[SpecError]) -> _FileT | None:
    """The file as `shape`; None where it cannot be, having added to `problems` why."""
    try:
        return _shaped(path, shape)
    except SpecError as error:
        problems.append(error)
        return None


def _shaped(path: Path, shape: type[_FileT]) -> _FileT:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError as error:
        raise SpecError(str(path), "", "there is no such file: set LEDGER_REPO_SPEC to your repo-spec") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), "", f"cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise SpecError(str(path), "", f"is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise SpecError(str(path), "", "is not a mapping of keys: it should start with node_id, scope_id, scope_key")
    know_installed(_source_names(content))
    whole_shape: type[_FileT] = over_sources(shape, source_kinds())
    try:
        return whole_shape.model_validate(content)
    except ValidationError as error:
        raise _spec_error(path, whole_shape, error) from error


def _source_names(content: dict[Any, Any]) -> list[str]:
    """What the file collects from, as far as that can be read: whether it is right is the shape's to say."""
    ledger = content.get("activity_ledger")
    sources = ledger.get("activity_sources") if isinstance(ledger, dict) else None
    return [name for name in sources if isinstance(name, str)] if isinstance(sources, dict) else []


def _spec_error(path: Path, shape: type[BaseModel], error: ValidationError) -> SpecError:
    all_errors = error.errors()
    unknown = [details for details in all_errors if details["type"] == "extra_forbidden"]
    # A misspelt key shows up twice, as unknown and as missing: the unknown one carries the suggestion.
    meant = {(*details["loc"][:-1], key) for details in unknown for key in _close_keys(shape, details)}
    others = [details for details in all_errors if details["type"] != "extra_forbidden"]
    reported = [details for details in others if details["type"] != "missing" or details["loc"] not in meant]
    first, *more = (
        SpecError(str(path), _dotted(details["loc"]), _problem(shape, details)) for details in (*unknown, *reported)
    )
    also = (f"{problem.key}: {problem.problem}" if problem.key else problem.problem for problem in more)
    return SpecError(first.file, first.key, _ALSO.join((first.problem, *also)))


def _all_of(problems: Sequence[SpecError]) -> SpecError:
    """One error of several files' problems."""
    first, *more = problems
    return SpecError(first.file, first.key, _ALSO.join((first.problem, *map(str, more))))


_ALSO = "; also "


# Pydantic's words for these are Python's: tuples, and instances of classes.
_WANTED = {"tuple_type": "a list", "model_type": "a section with keys of its own"}


def _dotted(location: Iterable[int | str]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")


def _problem(shape: type[BaseModel], details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "is missing"
    if details["type"] == "extra_forbidden":
        close = _close_keys(shape, details)
        known_keys = _known_keys(shape, details["loc"][:-1])
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known_keys)}"
        return f"is not a key of this section; {hint}"
    wanted = _WANTED.get(details["type"], details["msg"].removeprefix("Value error, "))
    return f"{details['input']!r} is not valid: {wanted}"


def _close_keys(shape: type[BaseModel], unknown: ErrorDetails) -> list[str]:
    """The key that an unknown one may be meant to be, where there is one."""
    *parents, key = unknown["loc"]
    return get_close_matches(str(key), _known_keys(shape, parents), n=1)


def _known_keys(shape: type[BaseModel], parents: Iterable[int | str]) -> list[str]:
    for step in parents:
        if isinstance(step, str):
            annotation = shape.model_fields[step].annotation
            shape = next(kind for kind in _models(annotation))
    return list(shape.model_fields)


def _models(annotation: object) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


# Shapes -> core types.


def _scope(path: Path, shape: ScopeFile, inherited: tuple[ScheduleSpec, ...]) -> Scope:
    ledger = shape.activity_ledger
    try:
        EpochCalendar(ledger.epoch_length_days).window_starting(ledger.first_epoch)
    except WindowError as error:
        raise SpecError(str(path), "activity_ledger.first_epoch", str(error)) from error
    sections = ledger.activity_sources.by_source()
    if len({section.credit_estimate_algo for section in sections.values()}) > 1:
        problem = "have different credit_estimate_algo, and an epoch is allocated by one"
        raise SpecError(str(path), "activity_ledger.activity_sources", f"{', '.join(sections)} {problem}")
    return Scope(
        scope_id=shape.scope_id,
        scope_key=shape.scope_key,
        epoch_length_days=ledger.epoch_length_days,
        first_epoch=ledger.first_epoch,
        sources=tuple(
            SourceSpec(source, section.credit_estimate_algo, section.source_scopes, section.streams, section.owners)
            for source, section in sections.items()
        ),
        approvers=shape.ledger.approvers if ledger.approvers is None else ledger.approvers,
        base_issuance_credits=ledger.pool_config.base_issuance_credits if ledger.pool_config else None,
        auto_close_grace_hours=ledger.auto_close_grace_hours,
        weights_milli={**default_weights_milli(sections), **ledger.weights_milli},
        schedules=inherited if shape.governance is None else _schedules(path, shape.governance),
        file=str(path),
        selection=_selection(path, ledger.selection),
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


def _project_scope(path: Path, shape: ProjectFile, node_id: UUID, inherited: tuple[ScheduleSpec, ...]) -> Scope:
    if shape.node_id not in (None, node_id):
        raise SpecError(str(path), "node_id", f"{shape.node_id} is another node; leave it out, or give {node_id}")
    return _scope(path, shape, inherited)


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
