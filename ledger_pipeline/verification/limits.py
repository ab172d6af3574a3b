"""What an archive may ask of whoever verifies it: known before anything in it is read.

An archive comes from anybody. Its bytes are bounded, and of each line, before it is parsed, the memory that it can
take: a few bytes of JSON become hundreds in a program.
"""

from dataclasses import dataclass

from ledger_pipeline.core.errors import ArchiveError

MEGABYTE = 1_000_000
DEFAULT_MEGABYTES = 20

# An archive has eleven members; a directory of this size is read whole.
MAX_ENTRIES = 32
# The spec and an epoch's rows nest a handful deep.
MAX_DEPTH = 64
MAX_SIGNATURES = 500
# Each statement is computed anew over every user.
MAX_STATEMENT_LINES = 1_000_000

# Measured on CPython: what a JSON value takes beside its text, and a row beside its values.
_VALUE_BYTES, _OBJECT_BYTES, _LIST_BYTES, _ROW_BYTES = 64, 200, 80, 900
_WIDEST_CHARACTER_BYTES = 4
_MEMORY_PER_BYTE = 10
# A line is held several times over while it is compared with its one spelling.
_LINE_MEMORY_BYTES = 16 * MEGABYTE


@dataclass(frozen=True)
class ArchiveLimits:
    """At most `megabytes` (of a million bytes) of file; its values may take ten times that in memory."""

    megabytes: int = DEFAULT_MEGABYTES

    @property
    def max_bytes(self) -> int:
        """The longest file that is read."""
        return self.megabytes * MEGABYTE

    @property
    def max_memory_bytes(self) -> int:
        """What all values may take."""
        return self.max_bytes * _MEMORY_PER_BYTE

    @property
    def max_lines(self) -> int:
        """How many rows may take that, be they empty."""
        return self.max_memory_bytes // _ROW_BYTES

    @property
    def max_line_memory_bytes(self) -> int:
        """What the values of one line may take."""
        return max(_LINE_MEMORY_BYTES, self.max_bytes)

    @property
    def advice(self) -> str:
        """What whoever trusts an archive beyond the limits can do."""
        return "if you know who made it, give --max-megabytes"


class MemoryBudget:
    """Counts what the lines of an archive take, and refuses the one that is too much."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._left_bytes = limits.max_memory_bytes

    def spend(self, where: str, line: bytes) -> None:
        """Count a line that is kept. Raises ArchiveError, naming `where`, for one that takes too much."""
        taken_bytes = memory_of(line)
        self._left_bytes -= taken_bytes
        if self._left_bytes < 0 or taken_bytes > self._limits.max_line_memory_bytes:
            raise ArchiveError(f"{where}: its values take more memory than an archive may: {self._limits.advice}")


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
