"""What all sections of the repo-spec's files are made of, and those of claims on repositories that scopes share."""

import re
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from ledger_pipeline.core.routing import DEFAULT_ORDER

NonEmpty: TypeAlias = Annotated[StrictStr, Field(min_length=1)]


def checked(pattern: re.Pattern[str], expected: str) -> AfterValidator:
    """What refuses each text that is not all of `pattern`, saying what is `expected`."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(expected)
        return value

    return AfterValidator(check)


def unique_ignoring_case(values: tuple[str, ...]) -> tuple[str, ...]:
    """`values` as they are. Raises ValueError when two differ in case at most."""
    seen: dict[str, str] = {}
    for value in values:
        if value.casefold() in seen:
            raise ValueError(f"each once, ignoring case: {value!r} repeats {seen[value.casefold()]!r}")
        seen[value.casefold()] = value
    return values


def some_once(item: Any) -> Any:
    """The type of a list of at least one `item`, each once, ignoring case."""
    return Annotated[tuple[item, ...], Field(min_length=1), AfterValidator(unique_ignoring_case)]


class OwnedSection(BaseModel):
    """A section of ours: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class SharedSection(BaseModel):
    """A section others write in too: what is not ours is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class ClaimSection(OwnedSection):
    """One of activity_ledger.claims: what the scope takes of a repository that others collect as well."""

    repository: NonEmpty
    paths: Annotated[tuple[NonEmpty, ...], Field(min_length=1)] = ()
    labels: some_once(NonEmpty) = ()  # type: ignore[valid-type]
    order: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = DEFAULT_ORDER
    shared: StrictBool = False
