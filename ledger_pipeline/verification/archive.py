"""An epoch as one file that anybody can check without us: JSON Lines in a ZIP, with the hash of every line.

The same epoch gives the same bytes: members are stored uncompressed, in one order, with no time of their own. So
whatever is changed is found: in a member by its lines' hashes, elsewhere by writing the file again and comparing.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.core.hashing import canonical_json
from ledger_pipeline.verification.record import LISTS, EpochFacts, EpochRecord
from ledger_pipeline.verification.verify import Difference

FORMAT = "ledger-pipeline epoch archive, version 1"
EPOCH, PINNED_SPEC, LINE_HASHES, SUMS = "epoch.json", "repo-spec.json", "line-hashes.json", "SHA256SUMS"
MEMBERS = (EPOCH, PINNED_SPEC, *(f"{name}.jsonl" for name in LISTS), LINE_HASHES, SUMS)

# A ZIP's local header: 30 bytes, then the name; nothing else is written here.
_HEADER_BYTES = 30
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


@dataclass(frozen=True)
class Archive:
    """What a file holds, and what of it is not as it was written."""

    sha256: str
    facts: EpochFacts
    damages: tuple[Difference, ...]


def archive_bytes(facts: EpochFacts) -> bytes:
    """The archive of an epoch."""
    return _zip(_written(facts))


def _written(facts: EpochFacts) -> dict[str, bytes]:
    """The members of an epoch's archive, by name."""
    members: dict[str, str] = {
        EPOCH: facts.epoch.canonical() + "\n",
        PINNED_SPEC: canonical_json(dict(facts.pinned_spec)) + "\n",
    }
    for name in LISTS:
        members[f"{name}.jsonl"] = "".join(f"{row.canonical()}\n" for row in getattr(facts, name))
    lines = {name: [_hash(line) for line in _lines(text.encode())] for name, text in members.items()}
    members[LINE_HASHES] = canonical_json({"format": FORMAT, "lines": lines}) + "\n"
    # As `sha256sum --check SHA256SUMS` reads it.
    members[SUMS] = "".join(f"{_hash(text.encode())}  {name}\n" for name, text in members.items())
    return {name: text.encode() for name, text in members.items()}


def write_archive(facts: EpochFacts, file: Path) -> str:
    """Write the archive of an epoch; its SHA-256, in hex. Raises ArchiveError where the file cannot be written."""
    content = archive_bytes(facts)
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ArchiveError(f"cannot write {file}: {error.strerror}") from error
    return _hash(content)


def read_archive(file: Path) -> Archive:
    """The epoch in `file`, and every place that is not as it was written.

    Raises ArchiveError for a file that is no archive, or so damaged that nothing can be said of the epoch in it.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ArchiveError(f"cannot read {file}: {error.strerror}") from error
    members = _members(file, content)
    damages = [*_damaged_lines(members), *_damaged_frame(content, members)]
    try:
        facts = _facts(members)
    except ArchiveError as error:
        where = "; ".join(map(str, damages)) or "its lines are as they were written"
        raise ArchiveError(f"{file}: {error} ({where})") from None
    if not damages:
        # Somebody may have written it anew, hashes and all: the same values then have other spellings.
        damages = list(_respelled(members, facts))
    return Archive(_hash(content), facts, tuple(damages))


def _members(file: Path, content: bytes) -> dict[str, bytes]:
    """Each member's bytes as they stand in the file, whatever its checksum says of them."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as container:
            entries = container.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ArchiveError(
            f"{file}: no archive, or its directory (at the end of the file) is damaged: {error}"
        ) from None
    found = {}
    for entry in entries:
        start = entry.header_offset + _HEADER_BYTES + len(entry.filename.encode())
        found[entry.filename] = content[start : start + entry.file_size]
    missing, strange = [name for name in MEMBERS if name not in found], sorted(found.keys() - set(MEMBERS))
    if missing or strange:
        raise ArchiveError(
            f"{file}: no epoch's archive: missing {', '.join(missing) or 'nothing'}, "
            f"strange {', '.join(strange) or 'nothing'}"
        )
    return found


def _damaged_lines(members: Mapping[str, bytes]) -> Iterator[Difference]:
    """Lines that do not have the hash that was written for them; the hashes themselves are held by SHA256SUMS."""
    listed = (line.partition("  ") for line in members[SUMS].decode(errors="replace").split("\n"))
    sums = {name: hash_ for hash_, _, name in listed}
    for name in MEMBERS[:-1]:
        if sums.get(name) != _hash(members[name]):
            yield Difference(name, f"its bytes are not those that {SUMS} lists")
    try:
        written = json.loads(members[LINE_HASHES])["lines"]
        hashes = {name: list(written[name]) for name in MEMBERS[:-2]}
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
    again = _zip({name: members[name] for name in MEMBERS})
    if content == again:
        return
    for offset, (found, written) in enumerate(zip(content, again, strict=False)):
        if found != written:
            yield Difference("archive", f"byte {offset} is {found:#04x}, not {written:#04x} as it is written")
            return
    yield Difference("archive", f"it has {len(content)} bytes, not {len(again)}")


def _respelled(members: Mapping[str, bytes], facts: EpochFacts) -> Iterator[Difference]:
    """Lines that say what they should in another way than we write it."""
    try:
        written = _written(facts)
    except (TypeError, ValueError) as error:
        yield Difference("archive", f"it holds what no archive of ours does: {error}")
        return
    for name in MEMBERS[:-2]:
        for number, (line, ours) in enumerate(zip_longest(_lines(members[name]), _lines(written[name])), start=1):
            if line != ours:
                yield Difference(f"{name} line {number}", "it is not spelled as it is written")


def _facts(members: Mapping[str, bytes]) -> EpochFacts:
    """What the members say. Raises ArchiveError naming file, line and key."""
    parsed: dict[str, Any] = {
        "epoch": _parsed(EPOCH, members[EPOCH], EpochRecord),
        "pinned_spec": _json(PINNED_SPEC, members[PINNED_SPEC]),
    }
    for name, model in LISTS.items():
        file = f"{name}.jsonl"
        lines = enumerate(_lines(members[file]), start=1)
        parsed[name] = [_parsed(f"{file} line {number}", line, model) for number, line in lines]
    return EpochFacts.model_construct(**parsed)


def _parsed(where: str, line: bytes, model: Any) -> Any:
    try:
        return model.model_validate(_json(where, line))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the row"
        raise ArchiveError(f"{where}: {key}: {first['msg']}") from None


def _json(where: str, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
        # JSON can escape half a character, which no hash can be computed of.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ArchiveError(f"{where}: not JSON") from None
    if not isinstance(value, dict):
        raise ArchiveError(f"{where}: not a JSON object")
    return value


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
