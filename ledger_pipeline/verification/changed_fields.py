"""Which field of an event's facts was changed, where they do not have their hash: found by what gives the hash back."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ledger_pipeline.core.hashing import sha256_hex
from ledger_pipeline.core.pins import shown
from ledger_pipeline.verification.record import FactsRecord

# An archive comes from anybody: so many values are tried for a field, in so many rows.
_VALUES_TRIED = 100
_ROWS_TRIED = 10
_KIND = "eventType"


class ChangedFields:
    """Looks for one field of a row whose value in another row of its kind, or none, or the contrary, gives its hash."""

    def __init__(self, rows: Sequence[FactsRecord]) -> None:
        self._rows, self._left = rows, _ROWS_TRIED

    def of(self, row: FactsRecord) -> str | None:
        """The field with the value that is there and the one that was, each cut to what a sentence has room for.

        None where no such change gives the hash that is stored, and for all but the first rows that are asked about.
        """
        if self._left == 0:
            return None
        self._left -= 1
        facts = dict(row.facts)
        for name, values in self._values(facts.get(_KIND)).items():
            without = {field: value for field, value in facts.items() if field != name}
            contrary = [not facts[name]] if isinstance(facts.get(name), bool) else []
            for value in (*contrary, *values):
                if sha256_hex({**without, name: value}) == row.facts_hash:
                    return f"{name} is {_shown(facts, name)}, and was {shown(value)}"
            if name in facts and sha256_hex(without) == row.facts_hash:
                return f"{name} is {_shown(facts, name)}, and was not there"
        return None

    def _values(self, kind: object) -> Mapping[str, Sequence[Any]]:
        """By field, values that rows of the kind have for it."""
        values: dict[str, list[Any]] = {}
        for name, value in self._of_kind(kind):
            tried = values.setdefault(name, [])
            if len(tried) < _VALUES_TRIED and value not in tried:
                tried.append(value)
        return values

    def _of_kind(self, kind: object) -> Iterator[tuple[str, Any]]:
        of_kind = (row.facts for row in self._rows if row.facts.get(_KIND) == kind)
        return (entry for facts in islice(of_kind, _VALUES_TRIED * _ROWS_TRIED) for entry in facts.items())


def _shown(facts: Mapping[str, Any], name: str) -> str:
    return shown(facts[name]) if name in facts else "not there"
