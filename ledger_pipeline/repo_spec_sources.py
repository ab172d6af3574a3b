"""The sections of `activity_ledger.activity_sources`: one per source there is, in the dialect of their file."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictBool, StrictStr, create_model

from ledger_pipeline.core.attribution import PROFILES
from ledger_pipeline.core.owners import OwnerRules, is_owner_ref
from ledger_pipeline.core.sources import SourceKind
from ledger_pipeline.core.spec import Dialect
from ledger_pipeline.repo_spec_claims import NonEmpty, OwnedSection, checked, some_once, unique_ignoring_case
from ledger_pipeline.repo_spec_owners import not_named, of_an_owner, with_an_owner

_ESTIMATE = "credit_estimate_algo"
_EXCLUDED = "excluded_logins"


class SourceSection(OwnedSection):
    """A section of activity_ledger.activity_sources; what its source takes is the source's to say.

    `credit_estimate_algo` is written under the key that the dialect has for it.
    """

    credit_estimate_algo: NonEmpty
    source_refs: tuple[str, ...]
    streams: tuple[str, ...]

    @property
    def dialect(self) -> Dialect:
        """The dialect that the section is written in."""
        return Dialect(str(type(self).model_fields[_ESTIMATE].alias))

    @property
    def excluded(self) -> tuple[str, ...]:
        """The logins that the section excludes; one dialect has a key for them."""
        return tuple(getattr(self, _EXCLUDED, ()))

    @property
    def source_scopes(self) -> tuple[str, ...]:
        """The source_refs that name one source_scope."""
        return tuple(source_ref for source_ref in self.source_refs if not is_owner_ref(source_ref))

    @property
    def owners(self) -> OwnerRules:
        """The source_refs that stand for all of an owner's, and what of it is left out."""
        return OwnerRules()


class OwnersSection(SourceSection):
    """The section of a source that lists what an owner has."""

    exclude: tuple[str, ...] = ()
    include_archived: Annotated[StrictBool, AfterValidator(with_an_owner)] = False
    include_forks: Annotated[StrictBool, AfterValidator(with_an_owner)] = False

    @property
    def owners(self) -> OwnerRules:
        """As SourceSection has it."""
        refs = filter(is_owner_ref, self.source_refs)
        return OwnerRules(tuple(refs), self.exclude, self.include_archived, self.include_forks)


class ActivitySourcesSection(OwnedSection):
    """activity_ledger.activity_sources: one key per source."""

    def by_source(self) -> dict[str, SourceSection]:
        """The sections that are there."""
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in sections.items() if section is not None}


def sources_section(kinds: tuple[SourceKind, ...], dialect: Dialect) -> type[ActivitySourcesSection]:
    """The shape of `activity_sources` over `kinds`; which of several are there, `with_a_source` checks."""
    sections: dict[str, Any] = {kind.name: (_section_of(kind, dialect) | None, None) for kind in kinds}
    if len(kinds) == 1:
        sections = {kind.name: (_section_of(kind, dialect), ...) for kind in kinds}
    return create_model("ActivitySourcesSection", __base__=ActivitySourcesSection, **sections)


def with_a_source(sources: ActivitySourcesSection) -> ActivitySourcesSection:
    """`sources` as they are. Raises ValueError where there is none."""
    if not sources.by_source():
        raise ValueError(f"at least one of {', '.join(type(sources).model_fields)}")
    return sources


def _section_of(kind: SourceKind, dialect: Dialect) -> type[SourceSection]:
    named = Annotated[StrictStr, checked(kind.source_ref, kind.source_ref_form)]
    expected = f"one of {', '.join(kind.stream_names)}"
    stream = Annotated[StrictStr, checked(re.compile("|".join(map(re.escape, kind.stream_names))), expected)]
    fields: dict[str, Any] = {
        **_of_dialect(dialect),
        "source_refs": (some_once(named), ...),
        "streams": (some_once(stream), kind.stream_names),
    }
    if kind.owner_ref is None:
        return create_model("SourceSection", __base__=SourceSection, **fields)
    either = re.compile(f"{kind.source_ref.pattern}|{kind.owner_ref.pattern}")
    source_ref = Annotated[StrictStr, checked(either, kind.source_ref_form)]
    excluded = Annotated[named, AfterValidator(of_an_owner)]
    exclude = Annotated[tuple[excluded, ...], AfterValidator(unique_ignoring_case), AfterValidator(not_named)]
    fields |= {"source_refs": (some_once(source_ref), ...), "exclude": (exclude, ())}
    return create_model("SourceSection", __base__=OwnersSection, **fields)


def _of_dialect(dialect: Dialect) -> dict[str, Any]:
    alias = Field(alias=dialect.value)
    if dialect is Dialect.CREDIT_ESTIMATE_ALGO:
        return {_ESTIMATE: (NonEmpty, alias)}
    logins = Annotated[tuple[NonEmpty, ...], AfterValidator(unique_ignoring_case)]
    return {_ESTIMATE: (Annotated[NonEmpty, AfterValidator(_known_profile)], alias), _EXCLUDED: (logins, ())}


def _known_profile(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"one of {', '.join(PROFILES)}")
    return name
