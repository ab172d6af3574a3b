"""What an archive may ask of whoever verifies it: known before anything in it is parsed.

An archive comes from anybody. Its bytes are bounded; so is the time that it can take, by counting what lines and values
begin and end with; and so is the memory of each line: a few bytes of JSON become hundreds in a program.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.errors import ArchiveError

MEGABYTE = 1_000_000
DEFAULT_MEGABYTES = 50

# An archive has sixteen members; a directory of this size is read whole.
MAX_ENTRIES = 32
MAX_SIGNATURES = 500

# Of a file of the default size: the seconds that all its lines may take, the memory that one line's values may, the
# memory that the ids of all its rows may, and what a selection policy looks at, which it has all at once.
_WORK_SECONDS = 6.5
_LINE_MEMORY_BYTES = 32 * MEGABYTE
_KEPT_BYTES = 40 * MEGABYTE
_DECIDED_BY_BYTES = 100 * MEGABYTE

# Measured on CPython, on one slow core: what reading and checking a row takes beside its values, a value beside its
# text, a byte of text, a line of a statement's payouts for one user, a byte of such a line, and a signature.
_ROW_SECONDS, _VALUE_SECONDS, _BYTE_SECONDS = 22e-6, 0.5e-6, 20e-9
_PAYOUT_SECONDS, _PAYOUT_BYTE_SECONDS, _SIGNATURE_SECONDS = 10e-6, 1e-9, 6e-3
# What a JSON value takes beside its text, and a row beside its values.
_VALUE_BYTES, _OBJECT_BYTES, _LIST_BYTES, _ROW_BYTES = 64, 200, 80, 900
_WIDEST_CHARACTER_BYTES = 4
CANDIDATE_BYTES = 500
"""What a policy keeps of an event beside its text."""
# A line shorter than this takes less than any limit, whatever is in it.
_SHORT_LINE_BYTES = 64_000


@dataclass(frozen=True)
class Amounts:
    """What there is of what takes time."""

    rows: int
    values: int
    text_bytes: int
    signatures: int
    payouts: int
    payout_bytes: int

    @property
    def seconds(self) -> float:
        """The processor time that it can take, about."""
        return (
            self.rows * _ROW_SECONDS
            + self.values * _VALUE_SECONDS
            + self.text_bytes * _BYTE_SECONDS
            + self.signatures * _SIGNATURE_SECONDS
            + self.payouts * _PAYOUT_SECONDS
            + self.payout_bytes * _PAYOUT_BYTE_SECONDS
        )


@dataclass(frozen=True)
class ArchiveLimits:
    """At most `megabytes` (of a million bytes) of file. What it may take grows with them, and never falls below what a
    file of the default size may take."""

    megabytes: int = DEFAULT_MEGABYTES

    @property
    def max_bytes(self) -> int:
        """The longest file that is read."""
        return self.megabytes * MEGABYTE

    @property
    def max_line_memory_bytes(self) -> int:
        """What the values of one line may take."""
        return int(_LINE_MEMORY_BYTES * self._factor)

    @property
    def max_kept_bytes(self) -> int:
        """What the ids of all rows may take."""
        return int(_KEPT_BYTES * self._factor)

    @property
    def max_decided_by_bytes(self) -> int:
        """What a policy decides by may take."""
        return int(_DECIDED_BY_BYTES * self._factor)

    @property
    def advice(self) -> str:
        """What whoever trusts an archive beyond the limits can do."""
        return "if you know who made it, give --max-megabytes"

    def check_work(self, amounts: Amounts) -> None:
        """Raises ArchiveError for what takes more time than a file may."""
        max_signatures = int(MAX_SIGNATURES * self._factor)
        if amounts.signatures > max_signatures:
            raise ArchiveError(
                f"{amounts.signatures} signatures are more than the {max_signatures} of an archive of "
                f"{self.megabytes} MB: {self.advice}"
            )
        if amounts.seconds > _WORK_SECONDS * self._factor:
            raise ArchiveError(
                f"{counted(amounts.rows, 'row')} with {counted(amounts.values, 'value')}, "
                f"{counted(amounts.signatures, 'signature')}, and "
                f"{counted(amounts.payouts, 'payout')} of {amounts.payout_bytes} bytes to compute, would take "
                f"{amounts.seconds:.1f} s, more than the {_WORK_SECONDS * self._factor:.1f} s of an archive of "
                f"{self.megabytes} MB: {self.advice}"
            )

    def check_line(self, where: str, line: bytes) -> None:
        """Raises ArchiveError, naming `where`, for a line whose values take too much memory."""
        if len(line) > _SHORT_LINE_BYTES and memory_of(line) > self.max_line_memory_bytes:
            raise ArchiveError(f"{where}: its values take more memory than a line may: {self.advice}")

    @property
    def _factor(self) -> float:
        return max(1.0, self.megabytes / DEFAULT_MEGABYTES)


def needed_megabytes(
    file_bytes: int, amounts: Amounts, longest_line: int, kept_bytes: int, decided_by_bytes: int = 0
) -> int:
    """The `megabytes` whose limits take a file, whose lines take at most `longest_line` bytes of memory each."""
    shares = (
        amounts.seconds / _WORK_SECONDS,
        amounts.signatures / MAX_SIGNATURES,
        longest_line / _LINE_MEMORY_BYTES,
        kept_bytes / _KEPT_BYTES,
        decided_by_bytes / _DECIDED_BY_BYTES,
    )
    return max(-(-file_bytes // MEGABYTE), *(ceil(share * DEFAULT_MEGABYTES) for share in shares))


class Kept:
    """Counts what is kept of rows in memory: at most `max_bytes` of `what`; the rows themselves are not kept."""

    def __init__(self, limits: ArchiveLimits, max_bytes: int, what: str) -> None:
        self._limits, self._left_bytes, self._what = limits, max_bytes, what

    def keep(self, where: str, taken_bytes: int) -> None:
        """Count those of a row. Raises ArchiveError, naming `where`, where they take too much."""
        self._left_bytes -= taken_bytes
        if self._left_bytes < 0:
            raise ArchiveError(
                f"{where}: the {self._what} up to here take more memory than an archive may: {self._limits.advice}"
            )


def kept_bytes(ids: Iterable[str]) -> int:
    """What ids take in memory."""
    return sum(map(sys.getsizeof, ids))


def memory_of(line: bytes) -> int:
    """The most that a line of JSON can take in memory, in bytes."""
    text_bytes = len(line) if line.isascii() else len(line) * _WIDEST_CHARACTER_BYTES
    return (
        _ROW_BYTES
        + text_bytes
        + _VALUE_BYTES * (line.count(b",") + line.count(b":"))
        + _OBJECT_BYTES * line.count(b"{")
        + _LIST_BYTES * line.count(b"[")
    )
