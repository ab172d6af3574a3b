"""The ZIP around an archive's members: read without trusting its directory, and written in one way only."""

import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.verification.differences import Difference
from ledger_pipeline.verification.limits import MAX_ENTRIES
from ledger_pipeline.verification.lines import Member
from ledger_pipeline.verification.record import LISTS, OPTIONAL_LISTS

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


def members_of(file: Path, content: bytes) -> dict[str, Member]:
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
    members, end = {}, 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        start = entry.header_offset + _HEADER_BYTES + len(entry.filename.encode())
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ArchiveError(f"{file}: no epoch's archive: {entry.filename} is compressed, or has two sizes")
        if entry.header_offset < end or start + entry.file_size > len(content):
            raise ArchiveError(f"{file}: no epoch's archive: {entry.filename} overlaps what stands before or after it")
        end = start + entry.file_size
        members[entry.filename] = Member(content, start, end)
    optional = [name for name in OPTIONAL_MEMBERS if name in members]
    return {name: members[name] for name in (*MEMBERS[:-2], *optional, *MEMBERS[-2:])}


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


def damaged_frame(content: bytes, members: Mapping[str, Member]) -> Iterator[Difference]:
    """The first byte outside of the members that is not as we write it, and a length that differs."""
    again = zipped(members)
    if content == again:
        return
    for offset, (actual, written) in enumerate(zip(content, again, strict=False)):
        if actual != written:
            yield Difference("archive", f"byte {offset} is {actual:#04x}, not {written:#04x} as it is written")
            return
    yield Difference("archive", f"it has {len(content)} bytes, not {len(again)}")


def zipped(members: Mapping[str, Member]) -> bytes:
    """The file that holds `members`, in their order, with no time of their own."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as container:
        for name, member in members.items():
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.create_system = _UNIX
            entry.external_attr = 0o644 << 16
            container.writestr(entry, member.view)
    return file.getvalue()
