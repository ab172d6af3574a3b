"""An epoch's archive is the same bytes wherever it is written, and nothing in it changes unseen."""

import contextlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.verification.archive import (
    FORMAT,
    Archive,
    archive_bytes,
    in_ledger_order,
    read_archive,
    write_archive,
)
from ledger_pipeline.verification.archive_container import EPOCH, LINE_HASHES, MEMBERS, PINNED_SPEC, SUMS
from ledger_pipeline.verification.record import LISTS, EpochFacts
from ledger_pipeline.verification.verify import Examination, verify
from ledger_pipeline_tests.verification.facts import (
    ADAS,
    MERGED,
    changed,
    finalized,
    sign,
    with_rows,
    without,
)

CONTENT = archive_bytes(finalized(amended=True))
EVENTS = "events.jsonl"
Members = dict[str, bytes]


def members_of(content: bytes = CONTENT) -> Members:
    with zipfile.ZipFile(BytesIO(content)) as container:
        return {name: container.read(name) for name in container.namelist()}


def packed(members: Mapping[str, bytes]) -> bytes:
    """A ZIP of `members` as we write one, whatever their hashes say."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as container:
        for name, content in members.items():
            entry = zipfile.ZipInfo(name)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            container.writestr(entry, content)
    return file.getvalue()


def with_lines(name: str, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The archive with other lines in one member, and no hash changed."""
    members = members_of()
    members[name] = b"".join(line + b"\n" for line in change(members[name].split(b"\n")[:-1]))
    return packed(members)


def rehashed(members: Mapping[str, bytes]) -> bytes:
    """The archive of `members`, every hash in it computed anew."""
    texts = {name: content for name, content in members.items() if name not in {LINE_HASHES, SUMS}}
    lines = {
        name: [_sha256(line) for line in text.removesuffix(b"\n").split(b"\n") if text] for name, text in texts.items()
    }
    hashes = {"format": FORMAT, "lines": lines}
    texts[LINE_HASHES] = json.dumps(hashes, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    texts[SUMS] = "".join(f"{_sha256(text)}  {name}\n" for name, text in texts.items()).encode()
    return packed(texts)


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()


def where_of(archive: Archive) -> list[str]:
    return [damage.where for damage in archive.damages]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Archive]:
    file = tmp_path_factory.mktemp("archive") / "epoch.zip"

    def of(content: bytes) -> Archive:
        file.write_bytes(content)
        return read_archive(file)

    return of


Read = Callable[[bytes], Archive]


# The same everywhere.


@pytest.mark.parametrize("amended", [False, True])
def test_what_is_written_is_read_back_whole_and_undamaged(tmp_path: Path, amended: bool) -> None:
    facts, file = in_ledger_order(finalized(amended=amended)), tmp_path / "epoch.zip"
    written = write_archive(facts, file).sha256
    archive = read_archive(file)
    assert (archive.facts, archive.damages) == (facts, ())
    assert archive.sha256 == written == _sha256(file.read_bytes())
    assert verify(archive.facts) == []
    assert Examination(archive.facts).accounts() == Examination(facts).accounts()


def test_the_bytes_of_an_epoch_are_these_for_ever() -> None:
    # As the first exporter wrote them: an archive of then verifies as long as this holds.
    assert _sha256(CONTENT) == "1904bdd6baa3e9101980f1fc0381b88a999caa3a2fd05b870d7ccc3ea49c62d5"


def test_the_same_epoch_gives_the_same_bytes(read: Read) -> None:
    assert archive_bytes(finalized(amended=True)) == CONTENT
    assert archive_bytes(read(CONTENT).facts) == CONTENT


def test_neither_the_order_of_keys_nor_the_kind_of_a_list_matters() -> None:
    facts = finalized(amended=True)
    event = facts.events[MERGED]
    changed_facts = changed(facts, "events", MERGED, metadata=dict(reversed(event.metadata.items())))
    changed_facts = changed_facts.model_copy(update={"pinned_spec": dict(reversed(facts.pinned_spec.items()))})
    assert archive_bytes(changed_facts.model_copy(update={"pool": tuple(facts.pool)})) == CONTENT


def test_members_are_stored_in_one_order_without_a_time_of_their_own() -> None:
    with zipfile.ZipFile(BytesIO(CONTENT)) as container:
        entries = container.infolist()
        assert container.testzip() is None
    assert tuple(entry.filename for entry in entries) == MEMBERS
    assert {(entry.compress_type, entry.date_time) for entry in entries} == {
        (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
    }
    assert packed(members_of()) == rehashed(members_of()) == CONTENT


def test_numbers_that_json_does_not_keep_exact_are_strings(read: Read) -> None:
    large = changed(in_ledger_order(finalized(amended=True)), "allocations", ADAS, proposed_units=2**60)
    line = members_of(archive_bytes(large))["allocations.jsonl"].split(b"\n")[0]
    assert json.loads(line)["proposed_units"] == str(2**60)
    assert read(archive_bytes(large)).facts == large


def test_line_ends_of_unicode_are_no_lines_of_a_member() -> None:
    text = members_of()[EVENTS].decode()
    assert len(text.splitlines()) > text.count("\n") == len(finalized().events)


def test_an_archive_of_nothing_yet_is_read_back_too(read: Read) -> None:
    facts = finalized()
    for name in LISTS:
        facts = with_rows(facts, name, [])
    archive = read(archive_bytes(facts))
    assert (archive.facts, archive.damages) == (facts, ())


# Anybody can check it.


def test_sha256sum_finds_every_member_as_listed(tmp_path: Path) -> None:
    for name, content in members_of().items():
        (tmp_path / name).write_bytes(content)
    check = ["sha256sum", "--check", "--strict", SUMS]
    answer = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [f"{name}: OK" for name in MEMBERS[:-1]]
    (tmp_path / EVENTS).write_bytes(b"")
    answer = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, f"{EVENTS}: FAILED" in answer.stdout) == (1, True)


OFFLINE = """
import pathlib, sys

def refuse(event, args):
    if event.startswith("socket."):
        raise PermissionError(event)

sys.addaudithook(refuse)
from ledger_pipeline.verification.archive import read_archive
from ledger_pipeline.verification.verify import Examination, verify

found = read_archive(pathlib.Path(sys.argv[1]))
accounts = Examination(found.facts).accounts()
print(len(found.damages), len(verify(found.facts)), sum(each.amount_credits for each in accounts))
print(sorted({"psycopg", "sqlalchemy", "dagster", "temporalio", "github"} & sys.modules.keys()))
"""


def test_it_is_checked_without_a_database_a_network_or_a_variable_of_ours(tmp_path: Path) -> None:
    (tmp_path / "epoch.zip").write_bytes(CONTENT)
    answer = subprocess.run(
        [sys.executable, "-c", OFFLINE, "epoch.zip"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.stdout.splitlines(), answer.returncode) == (["0 0 10500", "[]"], 0), answer.stderr


# Nothing changes unseen.


def places() -> list[str]:
    """For every byte of CONTENT, the member and line it stands in, or nothing between members."""
    places = [""] * len(CONTENT)
    with zipfile.ZipFile(BytesIO(CONTENT)) as container:
        for entry in container.infolist():
            at = entry.header_offset + 30 + len(entry.filename)
            for number, line in enumerate(container.read(entry).splitlines(keepends=True), start=1):
                # Only the line feed ends a line; CONTENT has Unicode's other ends only beyond ASCII.
                place = entry.filename if entry.filename in {LINE_HASHES, SUMS} else f"{entry.filename} line {number}"
                places[at : at + len(line)] = [place] * len(line)
                at += len(line)
    return places


PLACES = places()


def flip(read: Read, position: int, bit: int) -> None:
    content = bytearray(CONTENT)
    content[position] ^= 1 << bit
    try:
        problem = " ".join(map(str, read(bytes(content)).damages))
    except ArchiveError as error:
        problem = str(error)
    assert problem, f"bit {bit} of byte {position} flipped unseen"
    assert PLACES[position] in problem, (position, bit, problem)


def test_every_place_of_the_file_is_known() -> None:
    assert {place.partition(" ")[0] for place in PLACES} == {"", *MEMBERS}
    assert f"{EVENTS} line {len(finalized().events)}" in PLACES


# Every byte takes half a minute: one in so many is met, in every bit by turns; hypothesis looks at others each run.
STEP, STEP_OUTSIDE = 17, 3


def test_a_flipped_bit_in_a_member_is_found_and_its_line_named(read: Read) -> None:
    for position in range(0, len(CONTENT), STEP):
        flip(read, position, position // STEP % 8)


def test_a_flipped_bit_outside_of_the_members_is_found(read: Read) -> None:
    outside = [position for position, place in enumerate(PLACES) if not place]
    for number, position in enumerate(outside[::STEP_OUTSIDE]):
        flip(read, position, number % 8)


@given(position=st.integers(0, len(CONTENT) - 1), bit=st.integers(0, 7))
def test_any_bit_that_flips_is_found(read: Read, position: int, bit: int) -> None:
    flip(read, position, bit)


@settings(max_examples=40)
@given(position=st.sampled_from([at for at, place in enumerate(PLACES) if "jsonl" in place or EPOCH in place]))
def test_whatever_flipped_verifying_what_can_still_be_read_raises_nothing(read: Read, position: int) -> None:
    content = bytearray(CONTENT)
    content[position] ^= 1
    with contextlib.suppress(ArchiveError):
        facts = read(bytes(content)).facts
        verify(facts)
        Examination(facts).accounts()


@given(at=st.integers(0, len(CONTENT)), cut=st.integers(0, 40), put=st.binary(max_size=40))
def test_whatever_is_cut_out_or_put_in_is_found(read: Read, at: int, cut: int, put: bytes) -> None:
    content = CONTENT[:at] + put + CONTENT[at + cut :]
    if content == CONTENT:
        return
    with contextlib.suppress(ArchiveError):
        assert read(content).damages


LINES_CHANGED: dict[str, tuple[bytes, list[str]]] = {
    "removed at the end": (with_lines(EVENTS, lambda lines: lines[:-1]), [EVENTS, f"{EVENTS} line 6"]),
    "removed at the start": (
        with_lines("pool.jsonl", lambda lines: lines[1:]),
        ["pool.jsonl", "pool.jsonl line 1", "pool.jsonl line 2"],
    ),
    "added": (with_lines(EVENTS, lambda lines: [*lines, lines[0]]), [EVENTS, f"{EVENTS} line 7"]),
    "swapped": (
        with_lines(EVENTS, lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]),
        [EVENTS, f"{EVENTS} line 3", f"{EVENTS} line 4"],
    ),
    "changed": (
        with_lines("curation.jsonl", lambda lines: [lines[0].replace(b"small", b"large"), *lines[1:]]),
        ["curation.jsonl", "curation.jsonl line 1"],
    ),
    "spaced otherwise": (
        with_lines(PINNED_SPEC, lambda lines: [lines[0].replace(b":", b": ", 1)]),
        [PINNED_SPEC, f"{PINNED_SPEC} line 1"],
    ),
}


@pytest.mark.parametrize(("content", "places"), LINES_CHANGED.values(), ids=LINES_CHANGED)
def test_a_changed_member_is_named_with_the_lines_that_are_not_as_written(
    read: Read, content: bytes, places: list[str]
) -> None:
    assert where_of(read(content)) == places


def test_a_line_that_can_no_longer_be_read_is_named_with_what_is_wrong_in_it(read: Read) -> None:
    for change, problem in {
        b"{": f"{EVENTS} line 2: not JSON",
        b"[]": f"{EVENTS} line 2: not a JSON object",
        b"": f"{EVENTS} line 2: not JSON",
        b'{"id":"a"}': f"{EVENTS} line 2: source: Field required",
        b"\xff": f"{EVENTS} line 2: not JSON",
    }.items():
        content = with_lines(EVENTS, lambda lines, change=change: [lines[0], change, *lines[2:]])
        with pytest.raises(ArchiveError, match=f"epoch.zip: {problem}.*{EVENTS} line 2: it was changed"):
            read(content)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_missing_member_is_named(read: Read, name: str) -> None:
    members = members_of()
    del members[name]
    with pytest.raises(ArchiveError, match=f"no epoch's archive: missing {name}, strange nothing"):
        read(packed(members))


def test_a_strange_member_is_named(read: Read) -> None:
    with pytest.raises(ArchiveError, match=r"missing nothing, strange \.\./evil\.txt"):
        read(packed({**members_of(), "../evil.txt": b""}))


@pytest.mark.parametrize("kept", [0, 1, 3, 22, len(CONTENT) // 2, len(CONTENT) - 22, len(CONTENT) - 1])
def test_a_truncated_file_is_refused(read: Read, kept: int) -> None:
    with pytest.raises(ArchiveError, match=r"epoch\.zip: no archive"):
        read(CONTENT[:kept])


@pytest.mark.parametrize("content", [b"", b"PK", b"<html>404</html>", b"\x00" * 1000, packed({})])
def test_what_is_no_archive_is_refused(read: Read, content: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"epoch\.zip: no "):
        read(content)


@pytest.mark.parametrize("added", [b"\0", b"\n", b"PK", CONTENT], ids=["zero", "line feed", "PK", "itself"])
def test_bytes_appended_or_put_before_are_found(read: Read, added: bytes) -> None:
    for content in (CONTENT + added, added + CONTENT):
        with contextlib.suppress(ArchiveError):
            assert where_of(read(content)) == ["archive"]


def test_a_member_written_twice_is_found(read: Read) -> None:
    members = members_of()
    file = BytesIO(CONTENT)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(file, "a") as container:
        container.writestr(zipfile.ZipInfo(EVENTS), members[EVENTS])
    assert "archive" in where_of(read(file.getvalue()))


def test_the_same_members_compressed_are_not_the_archive(read: Read) -> None:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as container:
        for name, content in members_of().items():
            container.writestr(name, content)
    with pytest.raises(ArchiveError, match=EPOCH):
        read(file.getvalue())


@pytest.mark.parametrize(
    "hashes", [b"", b"{}", b"[]", b"null", b'{"lines":1}', b'{"lines":{}}', b'{"lines":{"epoch.json":null}}', b"\xff"]
)
def test_without_readable_line_hashes_damage_is_found_and_not_located(read: Read, hashes: bytes) -> None:
    archive = read(packed({**members_of(), LINE_HASHES: hashes}))
    assert where_of(archive) == [LINE_HASHES, LINE_HASHES]
    assert "cannot be read" in archive.damages[-1].problem
    assert verify(archive.facts) == []


# Whoever recomputes the hashes too.

REWRITTEN: dict[str, Callable[[EpochFacts], EpochFacts]] = {
    "an event": lambda facts: changed(facts, "events", MERGED, platform_user_id="1"),
    "an event removed": lambda facts: without(facts, "events", MERGED),
    "units": lambda facts: changed(facts, "allocations", ADAS, proposed_units=2001),
    "payouts": lambda facts: changed(facts, "statements", payouts=[]),
    "the signature": lambda facts: changed(facts, "signatures", signature=sign("another", "stranger")),
}


@pytest.mark.parametrize("change", REWRITTEN.values(), ids=REWRITTEN)
def test_an_archive_rewritten_with_its_hashes_is_undamaged_and_does_not_verify(
    read: Read, change: Callable[[EpochFacts], EpochFacts]
) -> None:
    archive = read(archive_bytes(change(finalized(amended=True))))
    assert archive.damages == ()
    assert verify(archive.facts)
    assert archive.sha256 != _sha256(CONTENT)


def test_what_verifying_does_not_hash_the_lines_hashes_hold(read: Read) -> None:
    # A login is in no payload hash. Without new hashes it is found; with them only the whole file's hash tells.
    content = with_lines(EVENTS, lambda lines: [lines[0].replace(b'"ada"', b'"eve"'), *lines[1:]])
    archive = read(content)
    assert archive.facts.events[MERGED].platform_login == "eve"
    assert (where_of(archive), verify(archive.facts)) == ([EVENTS, f"{EVENTS} line 1"], [])
    archive = read(rehashed(members_of(content)))
    assert (archive.damages, verify(archive.facts)) == ((), [])
    assert archive.sha256 != _sha256(CONTENT)


HOSTILE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "an unknown column": (EVENTS, lambda line: line.replace(b'{"', b'{"evil":1,"', 1), "line 1: evil: Extra inputs"),
    "a fraction of units": (
        "allocations.jsonl",
        lambda line: line.replace(b'"2000"', b"2000.5"),
        "line 1: not JSON",
    ),
    "a negative number": ("pool.jsonl", lambda line: line.replace(b'"10000"', b'"-1"', 1), "line 1"),
    "leading zeros": ("allocations.jsonl", lambda line: line.replace(b'"2000"', b'"02000"'), "line 1: proposed_units"),
    "a time without an offset": (EPOCH, lambda line: line.replace(b"00:00:00Z", b"00:00:00"), "epoch.json"),
    "more digits than Python reads": (
        "allocations.jsonl",
        lambda line: line.replace(b'"2000"', b'"' + b"9" * 5000 + b'"'),
        "line 1: proposed_units",
    ),
    "half a character": (EVENTS, lambda line: line.replace(b'"mergedAt":"', b'"mergedAt":"\\ud800'), "line 1: not JS"),
    "half a character in the spec": (
        PINNED_SPEC,
        lambda line: line.replace(b'"approvers":["', b'"approvers":["\\udfff'),
        "repo-spec.json: not JSON",
    ),
    "nested without end": (
        PINNED_SPEC,
        lambda line: line.replace(b'{"', b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b',"', 1),
        "repo-spec.json: not JSON",
    ),
}


@pytest.mark.parametrize(("name", "change", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_a_rewritten_archive_that_is_no_epoch_is_refused_naming_the_line(
    read: Read, name: str, change: Callable[[bytes], bytes], problem: str
) -> None:
    members = members_of()
    first, *others = members[name].split(b"\n")
    assert change(first) != first
    members[name] = b"\n".join([change(first), *others])
    with pytest.raises(ArchiveError, match=problem) as refusal:
        read(rehashed(members))
    assert "its lines are as they were written" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_line_hashes_nested_without_end_are_a_damage_and_no_crash(read: Read) -> None:
    archive = read(packed({**members_of(), LINE_HASHES: b"[" * 200_000}))
    assert where_of(archive) == [LINE_HASHES, LINE_HASHES]


# Files.


def test_a_file_that_is_not_there_or_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"cannot read .*none\.zip: No such file"):
        read_archive(tmp_path / "none.zip")
    with pytest.raises(ArchiveError, match=r"cannot read .*: Is a directory"):
        read_archive(tmp_path)
    with pytest.raises(ArchiveError, match=r"cannot write .*epoch\.zip: No such file"):
        write_archive(finalized(), tmp_path / "none" / "epoch.zip")
