"""What is wrong with a file of the repo-spec, in words: each key with its problem, and what an unknown one may mean."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ledger_pipeline.core.errors import SpecError

Location = tuple[int | str, ...]

_ALSO = "; also "
_UNKNOWN = "extra_forbidden"
# Pydantic's words for these are Python's: tuples, and instances of classes.
_WANTED = {"tuple_type": "a list", "model_type": "a section with keys of its own"}
# How much alike two keys are of which one is the other, misspelt; a key that others made up is less like any of ours.
_ALIKE = 0.6
_MISSPELT = 0.8


def spec_error(path: Path, shape: type[BaseModel], error: ValidationError) -> SpecError:
    """One error of all that is wrong with the file at `path`, each with its key."""
    all_errors = error.errors()
    unknown = [details for details in all_errors if details["type"] == _UNKNOWN]
    # A misspelt key shows up twice, as unknown and as missing: the unknown one carries the suggestion.
    meant = {(*details["loc"][:-1], key) for details in unknown for key in _close_keys(shape, details)}
    others = [details for details in all_errors if details["type"] != _UNKNOWN]
    reported = [details for details in others if details["type"] != "missing" or details["loc"] not in meant]
    first, *more = (
        SpecError(str(path), dotted(details["loc"]), _problem(shape, details)) for details in (*unknown, *reported)
    )
    also = (f"{problem.key}: {problem.problem}" if problem.key else problem.problem for problem in more)
    return SpecError(first.file, first.key, _ALSO.join((first.problem, *also)))


def error_of_all(problems: Sequence[SpecError]) -> SpecError:
    """One error of several files' problems."""
    first, *more = problems
    return SpecError(first.file, first.key, _ALSO.join((first.problem, *map(str, more))))


def keys_of_others(shape: type[BaseModel], error: ValidationError) -> list[Location]:
    """Where the keys stand that are unknown and no misspelling of one of ours."""
    unknown = (details for details in error.errors() if details["type"] == _UNKNOWN)
    return [details["loc"] for details in unknown if not _close_keys(shape, details, _MISSPELT)]


def dotted(location: Iterable[int | str]) -> str:
    """A place in a file, as `governance.schedules[0].cron`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location).lstrip(".")


def _problem(shape: type[BaseModel], details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "is missing"
    if details["type"] == _UNKNOWN:
        close = _close_keys(shape, details)
        known_keys = _known_keys(shape, details["loc"][:-1])
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known_keys)}"
        return f"is not a key of this section; {hint}"
    wanted = _WANTED.get(details["type"], details["msg"].removeprefix("Value error, "))
    return f"{details['input']!r} is not valid: {wanted}"


def _close_keys(shape: type[BaseModel], unknown: ErrorDetails, alike: float = _ALIKE) -> list[str]:
    """The key that an unknown one may be meant to be, where there is one."""
    *parents, key = unknown["loc"]
    return get_close_matches(str(key), _known_keys(shape, parents), n=1, cutoff=alike)


def _known_keys(shape: type[BaseModel], parents: Iterable[int | str]) -> list[str]:
    for step in parents:
        if isinstance(step, str):
            annotation = shape.model_fields[step].annotation
            shape = next(kind for kind in _models(annotation))
    return [field.alias or name for name, field in shape.model_fields.items()]


def _models(annotation: object) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
