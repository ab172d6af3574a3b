"""An epoch as one file that anybody can check without us: JSON Lines in a ZIP, with the hash of every line.

An archive is its bytes. The same epoch gives the same ones: members are stored uncompressed, in one order, with no time
of their own; rows stand in the ledger's order, each a line of canonical JSON that a line feed ends. So whatever is
changed is found: in a member by its lines' hashes, elsewhere by writing the file again and comparing. Whoever computes
the hashes anew can write another epoch, and no other spelling of this one.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.verification.limits import (
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_SIGNATURES,
    MAX_STATEMENT_LINES,
    ArchiveLimits,
    MemoryBudget,
    memory_of,
)
from ledger_pipeline.verification.record import LISTS, MAX_DIGITS, OPTIONAL_LISTS, EpochFacts, EpochRecord
from ledger_pipeline.verification.verify import Difference, bounded

FORMAT = "ledger-pipeline epoch archive, version 1"
EPOCH, PINNED_SPEC, LINE_HASHES, SUMS = "epoch.json", "repo-spec.json", "line-hashes.json", "SHA256SUMS"
MEMBERS = (EPOCH, PINNED_SPEC, *(f"{name}.jsonl" for name in LISTS), LINE_HASHES, SUMS)
# In this order, before the two that hold the hashes.
OPTIONAL_MEMBERS = tuple(f"{name}.jsonl" for name in OPTIONAL_LISTS)

# A ZIP's local header: 30 bytes, then the name; nothing else is written here. Each entry of its directory: 46 bytes,
# then the name. At the end 22 bytes, before which a directory for larger files would be announced.
_HEADER_BYTES, _ENTRY_BYTES, _END_BYTES, _LARGER_BYTES = 30, 46, 22, 20
_END, _LARGER = b"PK\x05\x06", b"PK\x06\x07"
_LONGEST_NAME = 100
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3

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
}


@dataclass(frozen=True)
class Archive:
    """What a file holds, and what of it is not as it was written."""

    sha256: str
    facts: EpochFacts
    damages: tuple[Difference, ...]


def archive_bytes(facts: EpochFacts) -> bytes:
    """The archive of an epoch."""
    return _zip(_written(in_ledger_order(facts)))


def in_ledger_order(facts: EpochFacts) -> EpochFacts:
    """`facts` with every list in the order that the ledger gives it in; corrections stay, for the last one counts."""
    ordered = {name: sorted(rows, key=key) for name, key in _ORDER.items() if (rows := getattr(facts, name))}
    return facts.model_copy(update=ordered)


def _written(facts: EpochFacts) -> dict[str, bytes]:
    """The members of an epoch's archive, by name."""
    members: dict[str, str] = {
        EPOCH: facts.epoch.canonical() + "\n",
        PINNED_SPEC: canonical_json(dict(facts.pinned_spec)) + "\n",
    }
    for name in (*LISTS, *(name for name in OPTIONAL_LISTS if getattr(facts, name))):
        members[f"{name}.jsonl"] = "".join(f"{row.canonical()}\n" for row in getattr(facts, name))
    encoded = {name: text.encode() for name, text in members.items()}
    return encoded | _hashes(encoded)


def _hashes(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """The two members that hold the hashes of all others."""
    lines = {name: [_hash(line) for line in _lines(content)] for name, content in members.items()}
    line_hashes = canonical_json({"format": FORMAT, "lines": lines}).encode() + b"\n"
    hashed = {**members, LINE_HASHES: line_hashes}
    # As `sha256sum --check SHA256SUMS` reads it.
    sums = "".join(f"{_hash(content)}  {name}\n" for name, content in hashed.items())
    return {LINE_HASHES: line_hashes, SUMS: sums.encode()}


def write_archive(facts: EpochFacts, file: Path) -> str:
    """Write the archive of an epoch; its SHA-256, in hex. Raises ArchiveError where the file cannot be written."""
    content = archive_bytes(facts)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ArchiveError(f"cannot write {file}: {error.strerror}") from error
    return _hash(content)


def read_archive(file: Path, limits: ArchiveLimits | None = None) -> Archive:
    """The epoch in `file`, and every place that is not as it was written.

    Raises ArchiveError for a file that is no archive, asks for more than `limits` (the default ones where None), or is
    so damaged that nothing can be said of the epoch in it.
    """
    limits = limits or ArchiveLimits()
    content = _content(file, limits)
    members = _members(file, content)
    _check_lines(file, members, limits)
    damages = bounded([*bounded(_damaged_lines(members, limits)), *_damaged_frame(content, members)])
    respelled: list[Difference] = []
    try:
        facts = _facts(members, limits, respelled.append)
    except ArchiveError as error:
        where = "; ".join(map(str, damages)) or "its lines are as they were written"
        raise ArchiveError(f"{file}: {error} ({where})") from None
    if not damages:
        # Somebody may have written it anew, hashes and all: the same values then have other spellings.
        damages = bounded([*respelled, *_disordered(facts), *_rehashed(members)])
    return Archive(_hash(content), facts, tuple(damages))


def _content(file: Path, limits: ArchiveLimits) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(limits.max_bytes + 1)
    except OSError as error:
        raise ArchiveError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > limits.max_bytes:
        raise ArchiveError(f"{file}: it has more than {limits.megabytes} megabytes: {limits.advice}")
    return content


def _members(file: Path, content: bytes) -> dict[str, bytes]:
    """Each member's bytes as they stand in the file, whatever its checksum says of them."""
    no_archive = f"{file}: no archive, or its directory (at the end of the file) is damaged: "
    if (problem := _directory_problem(content)) is not None:
        raise ArchiveError(no_archive + problem)
    try:
        with zipfile.ZipFile(BytesIO(content)) as container:
            entries = container.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ArchiveError(f"{no_archive}{error}") from None
    names = {entry.filename for entry in entries}
    missing, strange = [name for name in MEMBERS if name not in names], sorted(names - {*MEMBERS, *OPTIONAL_MEMBERS})
    if missing or strange:
        raise ArchiveError(
            f"{file}: no epoch's archive: missing {', '.join(missing) or 'nothing'}, "
            f"strange {', '.join(strange) or 'nothing'}"
        )
    found, end = {}, 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        start = entry.header_offset + _HEADER_BYTES + len(entry.filename.encode())
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ArchiveError(f"{file}: no epoch's archive: {entry.filename} is compressed, or has two sizes")
        if entry.header_offset < end or start + entry.file_size > len(content):
            raise ArchiveError(f"{file}: no epoch's archive: {entry.filename} overlaps what stands before or after it")
        end = start + entry.file_size
        found[entry.filename] = content[start:end]
    optional = [name for name in OPTIONAL_MEMBERS if name in found]
    return {name: found[name] for name in (*MEMBERS[:-2], *optional, *MEMBERS[-2:])}


def _check_lines(file: Path, members: Mapping[str, bytes], limits: ArchiveLimits) -> None:
    lines = sum(content.count(b"\n") for content in members.values())
    if lines > limits.max_lines:
        raise ArchiveError(f"{file}: {lines} lines are more than the {limits.max_lines} of an archive: {limits.advice}")


def _directory_problem(content: bytes) -> str | None:
    """What keeps the ZIP's directory from being read: the reader takes as much of it as the file claims."""
    end = content[-_END_BYTES:]
    if len(end) < _END_BYTES or not end.startswith(_END):
        return "the file does not end as a ZIP without a comment does"
    directory_bytes = int.from_bytes(end[12:16], "little")
    if directory_bytes > MAX_ENTRIES * (_ENTRY_BYTES + _LONGEST_NAME):
        return f"a directory of {directory_bytes} bytes is longer than that of any archive"
    if content[-_END_BYTES - _LARGER_BYTES :].startswith(_LARGER):
        return "a directory for files of more than 4 gigabytes"
    return None


def _damaged_lines(members: Mapping[str, bytes], limits: ArchiveLimits) -> Iterator[Difference]:
    """Lines that do not have the hash that was written for them; the hashes themselves are held by SHA256SUMS."""
    listed = (line.partition("  ") for line in members[SUMS].decode(errors="replace").split("\n"))
    sums = {name: hash_ for hash_, _, name in listed}
    *hashed, line_hashes, _ = members
    for name in (*hashed, line_hashes):
        if sums.get(name) != _hash(members[name]):
            yield Difference(name, f"its bytes are not those that {SUMS} lists")
    too_much = memory_of(members[LINE_HASHES]) > limits.max_line_memory_bytes
    try:
        written = json.loads(b"" if too_much else members[LINE_HASHES])["lines"]
        hashes = {name: list(written[name]) for name in hashed}
    except (ValueError, KeyError, TypeError, RecursionError):
        yield Difference(LINE_HASHES, "it cannot be read, so changes are not located by line")
        return
    for name, expected in hashes.items():
        for number, (line, hash_) in enumerate(zip_longest(_lines(members[name]), expected), start=1):
            if line is None:
                yield Difference(f"{name} line {number}", "it is missing")
            elif hash_ is None:
                yield Difference(f"{name} line {number}", "it was added")
            elif _hash(line) != hash_:
                yield Difference(f"{name} line {number}", "it was changed")


def _damaged_frame(content: bytes, members: Mapping[str, bytes]) -> Iterator[Difference]:
    """The first byte outside of the members that is not as we write it, and a length that differs."""
    again = _zip(members)
    if content == again:
        return
    for offset, (found, written) in enumerate(zip(content, again, strict=False)):
        if found != written:
            yield Difference("archive", f"byte {offset} is {found:#04x}, not {written:#04x} as it is written")
            return
    yield Difference("archive", f"it has {len(content)} bytes, not {len(again)}")


def _disordered(facts: EpochFacts) -> Iterator[Difference]:
    """Rows that do not stand behind those that the ledger has before them. Of corrections only the ledger knows."""
    for name, key in _ORDER.items():
        for number, (row, following) in enumerate(pairwise(getattr(facts, name)), start=2):
            if key(row) > key(following):
                yield Difference(f"{name}.jsonl line {number}", "it is not in the ledger's order")


def _rehashed(members: Mapping[str, bytes]) -> Iterator[Difference]:
    """Lists of hashes that are spelled otherwise than we write them."""
    hashed = {name: content for name, content in members.items() if name not in {LINE_HASHES, SUMS}}
    for name, written in _hashes(hashed).items():
        if members[name] != written:
            yield Difference(name, "it is not spelled as it is written")


def _facts(members: Mapping[str, bytes], limits: ArchiveLimits, respelled: Callable[[Difference], None]) -> EpochFacts:
    """What the members say. `respelled` is told of lines that say it in another way than we write it.

    Raises ArchiveError naming file, line and key.
    """
    budget = MemoryBudget(limits)

    def parsed(name: str, model: Any) -> Iterator[Any]:
        for number, line in enumerate(_lines(members[name]), start=1):
            where = f"{name} line {number}"
            budget.spend(where, line)
            yield (row := _parsed(where, line, model))
            if line != row.canonical().encode():
                respelled(Difference(where, "it is not spelled as it is written"))
        if members[name] and not members[name].endswith(b"\n"):
            respelled(Difference(name, "no line feed ends its last line"))

    budget.spend(PINNED_SPEC, members[PINNED_SPEC])
    spec = _json(PINNED_SPEC, members[PINNED_SPEC])
    if members[PINNED_SPEC] != canonical_json(spec).encode() + b"\n":
        respelled(Difference(f"{PINNED_SPEC} line 1", "it is not spelled as it is written"))
    budget.spend(EPOCH, members[EPOCH])
    epoch = _parsed(EPOCH, members[EPOCH], EpochRecord)
    if members[EPOCH] != epoch.canonical().encode() + b"\n":
        respelled(Difference(f"{EPOCH} line 1", "it is not spelled as it is written"))
    models = {name: model for name, model in {**LISTS, **OPTIONAL_LISTS}.items() if f"{name}.jsonl" in members}
    lists: dict[str, Any] = {name: list(parsed(f"{name}.jsonl", model)) for name, model in models.items()}
    for name in models.keys() & OPTIONAL_LISTS.keys():
        if not lists[name]:
            respelled(Difference(f"{name}.jsonl", "it is empty, and no archive of ours has it then"))
    _check_work(lists)
    return EpochFacts.model_construct(epoch=epoch, pinned_spec=spec, **lists)


def _check_work(lists: Mapping[str, Sequence[Any]]) -> None:
    """Raises ArchiveError for rows that few bytes hold, and much time would go into."""
    signatures = len(lists["signatures"]) + len(lists.get("inputs_signatures", ()))
    statements = len(lists["statements"])
    if signatures > MAX_SIGNATURES:
        raise ArchiveError(
            f"signatures.jsonl: {signatures} signatures are more than the {MAX_SIGNATURES} of an archive"
        )
    users = len(lists["allocations"]) + len(lists["corrections"])
    if statements * users > MAX_STATEMENT_LINES:
        raise ArchiveError(
            f"statements.jsonl: {statements} statements of up to {users} users are more than the "
            f"{MAX_STATEMENT_LINES} lines of an archive"
        )


def _parsed(where: str, line: bytes, model: Any) -> Any:
    try:
        return model.model_validate(_json(where, line))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "the row"
        raise ArchiveError(f"{where}: {key}: {first['msg']}") from None


def _json(where: str, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode(), parse_int=_integer, parse_float=_no_number, parse_constant=_no_number)
        _check_depth(value, MAX_DEPTH)
        if b"\\u" in line:
            # JSON can escape half a character, which no hash can be computed of.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ArchiveError(f"{where}: not JSON as it is written") from None
    if not isinstance(value, dict):
        raise ArchiveError(f"{where}: not a JSON object")
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError
    return int(digits)


def _no_number(spelling: str) -> None:
    # A fraction, 1e3, NaN: no row of ours has one, and no hash can be computed of it.
    raise ValueError(spelling)


def _check_depth(value: object, left: int) -> None:
    if left < 0:
        raise ValueError
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                _check_depth(inner, left - 1)


def _lines(content: bytes) -> list[bytes]:
    """Lines without their line feed; only the line feed ends one, whatever else Unicode calls a line's end."""
    lines = content.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def _zip(members: Mapping[str, bytes]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as container:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.create_system = _UNIX
            entry.external_attr = 0o644 << 16
            container.writestr(entry, content)
    return file.getvalue()


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()
