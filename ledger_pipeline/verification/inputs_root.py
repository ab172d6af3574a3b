"""One hash over everything that an epoch's units and pool follow from: what the contract's signature does not cover.

An approver's signature is of each user's units and of the pool's total. Another set of events that gives the same units
verifies as well: two people who compare this root know that they speak of the same events.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.verification.lines import Rows
from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.row_model import Record

FORMAT = "ledger-pipeline epoch inputs, version 1"
LISTS = ("events", "curation", "allocations", "pool")
LISTS_OF_SOME = ("left_out", "pool_set_aside", "facts", "routing", "selection", "co_authors", "overrides")


def inputs_root(facts: EpochFacts) -> str:
    """SHA-256 hex over lines: FORMAT, the epoch with its pins, the pinned spec, then of each list its name and rows.

    Of what the epoch was closed without, of components set aside, of what the scope has of events of claimed
    repositories, of what a selection policy decided by and decided, of co-authors and of overrides there are lines only
    where there are any rows.
    Rows are canonical JSON in code-point order, so the order in which they are stored does not matter; lines end in a
    line feed. Statements and signatures follow from these, and are left out.
    """
    digest = sha256()
    for line in _lines(facts):
        digest.update(line)
        digest.update(b"\n")
    return digest.hexdigest()


def _lines(facts: EpochFacts) -> Iterator[bytes]:
    yield FORMAT.encode()
    # Both change when it is signed: they follow from what is signed.
    yield canonical_json(facts.epoch.members("status", "pool_total_credits")).encode()
    yield canonical_json(dict(facts.pinned_spec)).encode()
    for name in (*LISTS, *(name for name in LISTS_OF_SOME if getattr(facts, name))):
        yield name.encode()
        # In UTF-8 the order of bytes is that of code points.
        yield from sorted(_canonical(getattr(facts, name)))


def _canonical(rows: Sequence[Record]) -> Iterator[bytes]:
    return rows.canonical() if isinstance(rows, Rows) else (row.canonical().encode() for row in rows)
