"""The two dialects of the repo-spec's files: how one is told from the other, and what the one of others stands for.

A file has one dialect, and the scopes of a node may be in different ones. Where a section of `activity_sources` has
`attribution_pipeline`, the file is written as the system we join writes it now; every other is in the dialect of
`credit_estimate_algo`. Whose an unknown key is, the dialect says: where others write the file it is theirs, and is
ignored with a note, unless it is one of ours misspelt; in a file of ours it is an error.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from ledger_pipeline.core.attribution import PROFILES
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import SpecError
from ledger_pipeline.core.plain_text import short_message
from ledger_pipeline.core.spec import Dialect
from ledger_pipeline.core.weights import default_weights_milli
from ledger_pipeline.repo_spec_problems import Location, dotted
from ledger_pipeline.repo_spec_shape import ScopeFile, SelectionSection
from ledger_pipeline.repo_spec_sources import SourceSection

_SOURCES = "activity_ledger.activity_sources"


def dialect_of(path: Path, content: Mapping[Any, Any]) -> Dialect:
    """The dialect of a file. Raises SpecError where its sections are in both."""
    ledger = content.get("activity_ledger")
    sections = ledger.get("activity_sources") if isinstance(ledger, dict) else None
    of_sections: dict[Dialect, str] = {}
    for name, section in sections.items() if isinstance(sections, dict) else ():
        spoken = [dialect for dialect in Dialect if isinstance(section, dict) and dialect in section]
        if len(spoken) > 1:
            problem = f"has both {spoken[0]} and {spoken[1]}, which mean different things: take out one of them"
            raise SpecError(str(path), f"{_SOURCES}.{name}", problem)
        of_sections |= dict.fromkeys(spoken, str(name))
    if len(of_sections) > 1:
        problem = " and ".join(f"{name} has {dialect}" for dialect, name in of_sections.items())
        raise SpecError(str(path), _SOURCES, f"{problem}: use the same key in all sections of a file")
    return next(iter(of_sections), Dialect.CREDIT_ESTIMATE_ALGO)


def take_out(path: Path, content: dict[Any, Any], locations: Iterable[Location]) -> str:
    """Take the keys at `locations` out of `content`; the sentence that says so."""
    keys = []
    for location in locations:
        section: Any = content
        for step in location[:-1]:
            section = section[step]
        section.pop(location[-1], None)  # by an anchor of YAML two places may be one
        keys.append(dotted(location))
    ignored = short_message(", ".join(keys))
    return f"{path}: ignored {counted(len(keys), 'key')} that only the system we join knows: {ignored}"


def scope_id_of(shape: ScopeFile, node_id: UUID) -> UUID:
    """The scope's id: where its file leaves it out, the one that the system we join gives it."""
    return uuid5(node_id, shape.scope_key) if shape.scope_id is None else shape.scope_id


def weights_of(sections: Mapping[str, SourceSection]) -> dict[str, int]:
    """What each type of event of the sources weighs where the file does not say, in milli-units."""
    weights = default_weights_milli(sections)
    for section in sections.values():
        if section.dialect is Dialect.ATTRIBUTION_PIPELINE:
            of_profile = PROFILES[section.credit_estimate_algo].weights_milli
            weights |= {name: weight for name, weight in of_profile.items() if name in weights}
    return weights


def selection_of(sections: Mapping[str, SourceSection], chosen: SelectionSection | None) -> SelectionSection | None:
    """The policy that the file names, else the one that its `attribution_pipeline` stands for; None for none.

    The logins that sections exclude are excluded by either.
    """
    section = next(iter(sections.values()))
    if section.dialect is Dialect.CREDIT_ESTIMATE_ALGO:
        return chosen
    policy = chosen or SelectionSection(policy=PROFILES[section.credit_estimate_algo].selection_policy)
    logins = {
        login.casefold(): login
        for login in (*policy.excluded_logins, *(login for of in sections.values() for login in of.excluded))
    }
    return policy.model_copy(update={"excluded_logins": tuple(logins.values())})
