"""An epoch as one file that anybody can check without us: JSON Lines in a ZIP, with the hash of every line.

An archive is its bytes. The same epoch gives the same ones: members are stored uncompressed, in one order, with no time
of their own; rows stand in the ledger's order, each a line of canonical JSON that a line feed ends. So whatever is
changed is found: in a member by its lines' hashes, elsewhere by writing the file again and comparing. Whoever computes
the hashes anew can write another epoch, and no other spelling of this one.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.core.selection.choice import PINNED_AS
from ledger_pipeline.verification.archive_container import (
    EPOCH,
    LINE_HASHES,
    PINNED_SPEC,
    SUMS,
    damaged_frame,
    members_of,
    zipped,
)
from ledger_pipeline.verification.differences import MAX_DIFFERENCES, Difference, bounded
from ledger_pipeline.verification.limits import (
    Amounts,
    ArchiveLimits,
    Kept,
    kept_bytes,
    memory_of,
    needed_megabytes,
)
from ledger_pipeline.verification.lines import Member, Rows, decided_by_bytes, parsed_json, parsed_row
from ledger_pipeline.verification.record import LISTS, OPTIONAL_LISTS, EpochFacts, EpochRecord
from ledger_pipeline.verification.row_model import Record

FORMAT = "ledger-pipeline epoch archive, version 1"

# As the exporter asks the ledger for them. Signatures of one moment come in whichever order.
_ORDER: Mapping[str, Callable[[Any], Any]] = {
    "events": lambda row: (row.event_time, row.id),
    "curation": lambda row: row.event_id,
    "allocations": lambda row: row.user_id,
    "pool": lambda row: row.component_id,
    "statements": lambda row: (row.created_at, row.statement_id),
    "signatures": lambda row: row.signed_at,
    "inputs_signatures": lambda row: row.signed_at,
    "left_out": lambda row: (row.source, row.source_scope, row.kind, row.number),
    "pool_set_aside": lambda row: (row.component_id, row.set_aside_at),
    "facts": lambda row: row.event_id,
    "routing": lambda row: row.event_id,
    "selection": lambda row: row.event_id,
    "co_authors": lambda row: (row.event_id, row.provider, row.external_id),
    "overrides": lambda row: (row.event_id, row.place),
}


@dataclass(frozen=True)
class Archive:
    """What a file holds, and what of it is not as it was written."""

    sha256: str
    facts: EpochFacts
    damages: tuple[Difference, ...]


def archive_bytes(facts: EpochFacts) -> bytes:
    """The archive of an epoch."""
    return zipped(_written(in_ledger_order(facts)))


def in_ledger_order(facts: EpochFacts) -> EpochFacts:
    """`facts` with every list in the order that the ledger gives it in; corrections stay, for the last one counts."""
    ordered = {name: sorted(rows, key=key) for name, key in _ORDER.items() if (rows := getattr(facts, name))}
    return facts.model_copy(update=ordered)


def _written(facts: EpochFacts) -> dict[str, Member]:
    """The members of an epoch's archive, by name."""
    members: dict[str, str] = {
        EPOCH: facts.epoch.canonical() + "\n",
        PINNED_SPEC: canonical_json(dict(facts.pinned_spec)) + "\n",
    }
    for name in (*LISTS, *(name for name in OPTIONAL_LISTS if getattr(facts, name))):
        members[f"{name}.jsonl"] = "".join(f"{row.canonical()}\n" for row in getattr(facts, name))
    encoded = {name: Member(text.encode()) for name, text in members.items()}
    return encoded | _hashes(encoded)


def _hashes(members: Mapping[str, Member]) -> dict[str, Member]:
    """The two members that hold the hashes of all others."""
    lines = {name: [_hash(line) for line in member.lines()] for name, member in members.items()}
    line_hashes = Member(canonical_json({"format": FORMAT, "lines": lines}).encode() + b"\n")
    hashed = {**members, LINE_HASHES: line_hashes}
    # As `sha256sum --check SHA256SUMS` reads it.
    sums = "".join(f"{_hash(member.view)}  {name}\n" for name, member in hashed.items())
    return {LINE_HASHES: line_hashes, SUMS: Member(sums.encode())}


@dataclass(frozen=True)
class Written:
    """An archive that was written; `megabytes` are those of the limits that whoever verifies it needs."""

    sha256: str
    megabytes: int


def write_archive(facts: EpochFacts, file: Path) -> Written:
    """Write the archive of an epoch. Raises ArchiveError where the file cannot be written."""
    members = _written(in_ledger_order(facts))
    content = zipped(members)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ArchiveError(f"cannot write {file}: {error.strerror}") from error
    read = [member for name, member in members.items() if name not in {LINE_HASHES, SUMS}]
    lists = [rows for name in (*LISTS, *OPTIONAL_LISTS) if (rows := getattr(facts, name))]
    megabytes = needed_megabytes(
        file_bytes=len(content),
        amounts=_amounts(members),
        longest_line=max(memory_of(line) for member in read for line in member.lines()),
        kept_bytes=sum(kept_bytes(row.ids()) for rows in lists for row in rows),
        decided_by_bytes=sum(
            decided_by_bytes(row, row.canonical().encode())
            for rows in (facts.events, facts.facts, facts.routing)
            for row in rows
            if PINNED_AS in facts.pinned_spec
        ),
    )
    return Written(_hash(content), megabytes)


def read_archive(file: Path, limits: ArchiveLimits | None = None) -> Archive:
    """The epoch in `file`, and every place that is not as it was written.

    Raises ArchiveError for a file that is no archive, asks for more than `limits` (the default ones where None), or is
    so damaged that nothing can be said of the epoch in it.
    """
    limits = limits or ArchiveLimits()
    content = _content(file, limits)
    members = members_of(file, content)
    try:
        limits.check_work(_amounts(members))
    except ArchiveError as error:
        raise ArchiveError(f"{file}: {error}") from None
    hashes = _hashes({name: member for name, member in members.items() if name not in {LINE_HASHES, SUMS}})
    rehashed = [name for name, member in hashes.items() if member.view != members[name].view]
    damages = [*(bounded(_damaged_lines(members, limits)) if rehashed else ()), *damaged_frame(content, members)]
    reading = _Reading(members, limits)
    try:
        facts = reading.facts()
    except ArchiveError as error:
        where = "; ".join(map(str, bounded(damages))) or "its lines are as they were written"
        raise ArchiveError(f"{file}: {error} ({where})") from None
    if not damages:
        # Somebody may have written it anew, hashes and all: the same values then have other spellings.
        damages = [*reading.respelled, *reading.disordered]
        damages += [Difference(name, "it is not spelled as it is written") for name in rehashed]
    return Archive(_hash(content), facts, tuple(bounded(damages)))


def _content(file: Path, limits: ArchiveLimits) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(limits.max_bytes + 1)
    except OSError as error:
        raise ArchiveError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > limits.max_bytes:
        raise ArchiveError(f"{file}: it has more than {limits.megabytes} megabytes: {limits.advice}")
    return content


def _amounts(members: Mapping[str, Member]) -> Amounts:
    """What is in them, by what lines and values begin and end with; nothing is parsed."""
    rows = {name: member.count(b"\n") + (not member.is_ended()) for name, member in members.items()}
    of_users = ("allocations.jsonl", "corrections.jsonl")
    return Amounts(
        # Hashes are no rows, and cost the little that a row's values do.
        rows=sum(rows.values()),
        values=sum(member.count(mark) for member in members.values() for mark in (b",", b":", b"[", b"{")),
        text_bytes=sum(len(member) for member in members.values()),
        signatures=rows["signatures.jsonl"] + rows.get("inputs_signatures.jsonl", 0),
        # Each statement is computed from all of them.
        payouts=rows["statements.jsonl"] * sum(rows[name] for name in of_users),
        payout_bytes=rows["statements.jsonl"] * sum(len(members[name]) for name in of_users),
    )


def _damaged_lines(members: Mapping[str, Member], limits: ArchiveLimits) -> Iterator[Difference]:
    """Lines that do not have the hash that was written for them; the hashes themselves are held by SHA256SUMS."""
    listed = (line.decode(errors="replace").partition("  ") for line in members[SUMS].lines())
    sums = {name: hash_ for hash_, _, name in listed}
    *hashed, line_hashes, _ = members
    for name in (*hashed, line_hashes):
        if sums.get(name) != _hash(members[name].view):
            yield Difference(name, f"its bytes are not those that {SUMS} lists")
    content = bytes(members[LINE_HASHES].view)
    try:
        limits.check_line(LINE_HASHES, content)
        written = json_of(content)["lines"]
        hashes = {name: list(written[name]) for name in hashed}
    except (ArchiveError, ValueError, KeyError, TypeError):
        yield Difference(LINE_HASHES, "it cannot be read, so changes are not located by line")
        return
    for name, expected in hashes.items():
        for number, (line, hash_) in enumerate(zip_longest(members[name].lines(), expected), start=1):
            if line is None:
                yield Difference(f"{name} line {number}", "it is missing")
            elif hash_ is None:
                yield Difference(f"{name} line {number}", "it was added")
            elif _hash(line) != hash_:
                yield Difference(f"{name} line {number}", "it was changed")


class _Reading:
    """Reads what the members say, a line at a time, and keeps of it what is not said as we say it."""

    def __init__(self, members: Mapping[str, Member], limits: ArchiveLimits) -> None:
        self._members, self._limits = members, limits
        self._kept_ids = Kept(limits, limits.max_kept_bytes, "ids")
        self._decided_by = Kept(limits, limits.max_decided_by_bytes, "facts that a policy decides by")
        self._has_policy = False
        self.respelled: list[Difference] = []
        # Rows that stand before one which the ledger has before them. Of corrections only the ledger knows.
        self.disordered: list[Difference] = []

    def facts(self) -> EpochFacts:
        """Raises ArchiveError naming file, line and key of what cannot be read."""
        spec_line = self._whole(PINNED_SPEC)
        spec = parsed_json(PINNED_SPEC, spec_line)
        if spec_line != canonical_json(spec).encode() + b"\n":
            self._respelled(f"{PINNED_SPEC} line 1")
        self._has_policy = PINNED_AS in spec
        epoch_line = self._whole(EPOCH)
        epoch = parsed_row(EPOCH, epoch_line, EpochRecord)
        if epoch_line != epoch.canonical().encode() + b"\n":
            self._respelled(f"{EPOCH} line 1")
        models = {**LISTS, **OPTIONAL_LISTS}
        lists: dict[str, Any] = {
            name: self._rows(name, model) for name, model in models.items() if f"{name}.jsonl" in self._members
        }
        for name in lists.keys() & OPTIONAL_LISTS.keys():
            if not lists[name]:
                self._say(self.respelled, f"{name}.jsonl", "it is empty, and no archive of ours has it then")
        return EpochFacts.model_construct(epoch=epoch, pinned_spec=spec, **lists)

    def _whole(self, name: str) -> bytes:
        line = bytes(self._members[name].view)
        self._limits.check_line(name, line)
        return line

    def _rows(self, name: str, model: type[Record]) -> Rows[Any]:
        file, key = f"{name}.jsonl", _ORDER.get(name)
        member, before, as_written = self._members[file], None, True
        for number, line in enumerate(member.lines(), start=1):
            where = f"{file} line {number}"
            self._limits.check_line(where, line)
            row = parsed_row(where, line, model)
            self._kept_ids.keep(where, kept_bytes(row.ids()))
            if self._has_policy:
                self._decided_by.keep(where, decided_by_bytes(row, line))
            if line != row.canonical().encode():
                as_written = False
                self._respelled(where)
            position = None if key is None else key(row)
            if before is not None and before > position:
                self._say(self.disordered, where, "it is not in the ledger's order")
            before = position
        if not member.is_ended():
            self._say(self.respelled, file, "no line feed ends its last line")
        return Rows(member, model, as_written=as_written)

    def _respelled(self, where: str) -> None:
        self._say(self.respelled, where, "it is not spelled as it is written")

    @staticmethod
    def _say(differences: list[Difference], where: str, problem: str) -> None:
        if len(differences) < MAX_DIFFERENCES:
            differences.append(Difference(where, problem))


def _hash(content: bytes | memoryview) -> str:
    return sha256(content).hexdigest()
