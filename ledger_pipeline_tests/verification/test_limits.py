"""Whatever file it is given, `verify` says in seconds what it thinks of it, in bounded memory and one plain message."""

import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from ledger_pipeline.core.errors import ArchiveError
from ledger_pipeline.core.hashing import Json, canonical_json, sha256_hex
from ledger_pipeline.core.json_text import MAX_JSON_DEPTH
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.verification.archive import archive_bytes, read_archive, write_archive
from ledger_pipeline.verification.archive_container import EPOCH, MEMBERS, PINNED_SPEC
from ledger_pipeline.verification.differences import MAX_DIFFERENCES
from ledger_pipeline.verification.limits import (
    DEFAULT_MEGABYTES,
    MAX_SIGNATURES,
    MEGABYTE,
    Amounts,
    ArchiveLimits,
    needed_megabytes,
)
from ledger_pipeline.verification.record import EpochFacts, InputsSignatureRecord
from ledger_pipeline.verification.row_values import MAX_DIGITS
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.verification.facts import (
    CLOSED_AT,
    FIRST,
    address,
    changed,
    finalized,
    many_events,
    with_epoch,
    with_rows,
    with_spec,
)
from ledger_pipeline_tests.verification.test_archive import CONTENT, Members, members_of, packed, rehashed

# The slowest takes 4 s of a quiet processor, 12 s of one whose core is shared; what is quadratic takes minutes.
MAX_SECONDS, MAX_MEMORY_MEGABYTES = 30, 300
EVENTS, CURATION, ALLOCATIONS = "events.jsonl", "curation.jsonl", "allocations.jsonl"
STATEMENTS, CORRECTIONS, SIGNATURES = "statements.jsonl", "corrections.jsonl", "signatures.jsonl"
FACTS = "facts.jsonl"

# Its own peak of memory, and processor time: whatever else this machine does has no part in them.
CHILD = """
import pathlib, sys, time
from ledger_pipeline.cli.app import run

code = run(sys.argv[1:])
sys.stdout.flush()
[peak] = [line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
print(peak, time.process_time(), file=sys.stderr)
sys.exit(code)
"""


def verified(file: Path, *options: str) -> tuple[int, str]:
    """The exit code of `verify --archive` and all that it printed, once its time and memory were within bounds."""
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, "verify", "--archive", str(file), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    printed, _, measured = ran.stderr.rstrip().rpartition("\n")
    kilobytes, seconds = int(measured.split()[1]), float(measured.split()[3])
    assert seconds < MAX_SECONDS, f"{seconds:.1f} s"
    assert kilobytes * 1024 < MAX_MEMORY_MEGABYTES * MEGABYTE, f"{kilobytes * 1024 // MEGABYTE} MB"
    return ran.returncode, ran.stdout + printed


def with_member(name: str, content: bytes) -> Members:
    return {**members_of(), name: content}


def lines(name: str) -> list[bytes]:
    return members_of()[name].split(b"\n")[:-1]


def many(name: str, change: Callable[[str, int], str], megabytes: float) -> bytes:
    """Rows like the first of a member, each changed by its number, until there are so many bytes."""
    first = lines(name)[0].decode()

    def rows() -> Iterator[bytes]:
        taken = number = 0
        while taken < megabytes * MEGABYTE:
            row = change(first, number).encode() + b"\n"
            number, taken = number + 1, taken + len(row)
            yield row

    return b"".join(rows())


def with_key(line: str, key: str, value: str) -> str:
    """A row with one value of it replaced by other JSON."""
    row = json.loads(line)
    row[key] = "\0"
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")).replace('"\\u0000"', value)


def overlapping() -> bytes:
    """A ZIP of 40 MB whose entries all stand in the same place."""
    name_bytes = max(map(len, MEMBERS))
    size = 40 * MEGABYTE
    header = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0x21, 0, size, size, name_bytes, 0)
    body = header + b" " * name_bytes + b"\n" * size
    entries = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0x21, 0, size, size, len(name), 0, 0, 0, 0, 0, 0)
        + name.encode()
        for name in MEMBERS
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, len(MEMBERS), len(MEMBERS), len(entries), len(body), 0)
    return body + entries + end


def many_entries() -> bytes:
    """A ZIP whose directory has 300,000 entries."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0x21, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    entries = entry * 300_000
    return entries + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entries), 0, 0)


def rows_of(name: str, change: Callable[[str, int], str], megabytes: float) -> Callable[[], bytes]:
    """An archive with so many megabytes of rows of one kind, and the hashes of them."""
    return lambda: rehashed(with_member(name, many(name, change, megabytes)))


def one_line(name: str, key: str, value: str) -> Callable[[], bytes]:
    """An archive whose member has one line, with one value replaced by other JSON."""
    return lambda: rehashed(with_member(name, with_key(lines(name)[0].decode(), key, value).encode() + b"\n"))


def numbered(key: str, before: str = "", after: str = "") -> Callable[[str, int], str]:
    """Another value of a key in each row."""
    return lambda line, number: with_key(line, key, f'"{before}{number:09}{after}"')


def with_metadata(value: str) -> Callable[[str, int], str]:
    """Another id in each row, and metadata that is other JSON."""
    return lambda line, number: with_key(with_key(line, "id", f'"{number:09}"'), "metadata", value)


def forged(row: int) -> str:
    """A well-formed signature that is nobody's."""
    return f"0x{row + 1:064x}{row + 2:064x}1b"


def signatures(rows: int) -> bytes:
    """An archive with so many signatures by an approver, none of which is of the statement."""
    first = lines(SIGNATURES)[0].decode()
    content = b"".join(with_key(first, "signature", f'"{forged(row)}"').encode() + b"\n" for row in range(rows))
    return rehashed(with_member(SIGNATURES, content))


def inputs_signatures(rows: int) -> bytes:
    """An archive with so many signatures of its inputs by an approver, none of which is of any."""
    facts = finalized()
    signed = InputsSignatureRecord(
        statement_id=FIRST, signer_wallet=address(), inputs_root="0" * 64, signature="", signed_at=CLOSED_AT
    )
    return archive_bytes(
        with_rows(
            facts, "inputs_signatures", [signed.model_copy(update={"signature": forged(row)}) for row in range(rows)]
        )
    )


def with_facts(labels: int, megabytes: float) -> bytes:
    """An archive of an epoch that closed with a policy, and facts of so many labels each, of events that it has not."""
    selection = installed_policy("fair-v1").choice({}, ()).pinned
    members = members_of(archive_bytes(with_spec(finalized(), selection=selection)))
    facts: Mapping[str, Json] = {"eventType": "pr_merged", "labels": sorted(f"{label:x}" for label in range(labels))}
    hash_, rows, taken = sha256_hex(facts), list[bytes](), 0
    while taken < megabytes * MEGABYTE:
        row = {"event_id": f"github:pr:a/b:{10**6 + len(rows)}", "facts": facts, "facts_hash": hash_}
        rows.append(canonical_json(row).encode() + b"\n")
        taken += len(rows[-1])
    *others, line_hashes, sums = members.items()
    return rehashed(dict([*others, (FACTS, b"".join(rows)), line_hashes, sums]))


def objects(values: int) -> str:
    return '{"a":[' + "{}," * values + "{}]}"


WORK, MEMORY = "more than the 6.5 s of an archive of 50 MB", "its values take more memory than a line may"
TOO_LARGE, DIFFERENCES = "it has more than 50 megabytes: if you know who made it, give --max-megabytes", "see above"

# What holds is looked at by what it prints: a whole line of it, or the start of the refusal. Those that end in
# differences are about as large as they may be: what is larger is refused before any work.
FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "60 MB of line feeds": (lambda: packed(with_member(EVENTS, b"\n" * 60 * MEGABYTE)), TOO_LARGE),
    "49 MB of line feeds": (lambda: packed(with_member(EVENTS, b"\n" * 49 * MEGABYTE)), WORK),
    "49 MB of open lists": (lambda: packed(with_member(EVENTS, b"[" * 49 * MEGABYTE)), WORK),
    "39 MB of nested empty objects": (
        lambda: packed(with_member(PINNED_SPEC, objects(13 * MEGABYTE).encode() + b"\n")),
        WORK,
    ),
    "nested empty objects in one line": (one_line(PINNED_SPEC, "deep", objects(MEGABYTE)), MEMORY),
    "49 MB of text in one line": (one_line(EVENTS, "artifact_url", f'"{"x" * 49 * MEGABYTE}"'), MEMORY),
    "nested empty objects in many lines": (rows_of(EVENTS, with_metadata(objects(1000)), 19), DIFFERENCES),
    "lists in lists": (
        rows_of(EVENTS, with_metadata('{"a":[' + ",".join(["[[[[]]]]"] * 1000) + "]}"), 19),
        DIFFERENCES,
    ),
    "the same key again and again": (
        rows_of(EVENTS, with_metadata('{"a":' + ',"a":'.join(["257"] * 1000) + "}"), 38),
        DIFFERENCES,
    ),
    "text in escapes": (rows_of(EVENTS, with_metadata('{"a":"' + "\\u0041" * 10_000 + '"}'), 48), DIFFERENCES),
    "numbers of 5,000 digits": (
        rows_of(EVENTS, with_metadata(f'{{"a":{"9" * 5000}}}'), 48),
        "events.jsonl line 1: not JSON as it is written",
    ),
    "long addresses": (rows_of(EVENTS, numbered("artifact_url", after="x" * 6000), 48), DIFFERENCES),
    "ids of four bytes a character": (
        rows_of(EVENTS, numbered("id", after="\N{PARTY POPPER}" + "x" * 200), 40),
        "the ids up to here take more memory than an archive may",
    ),
    "events of one id": (rows_of(EVENTS, lambda line, _: line, 41), DIFFERENCES),
    "rows of curation": (rows_of(CURATION, numbered("event_id"), 19), DIFFERENCES),
    "rows of curation for users who are none": (
        rows_of(CURATION, numbered("user_id", after="\\u202e[/x]"), 21),
        DIFFERENCES,
    ),
    "rows of allocations": (rows_of(ALLOCATIONS, numbered("user_id", after=":x"), 10), DIFFERENCES),
    "rows of corrections": (rows_of(CORRECTIONS, numbered("user_id"), 16), DIFFERENCES),
    "components": (rows_of("pool.jsonl", numbered("component_id"), 25), DIFFERENCES),
    "a chain of statements": (
        rows_of(STATEMENTS, lambda line, number: with_key(line, "statement_id", f'"{number:032x}"'), 27),
        DIFFERENCES,
    ),
    "statements of many users": (
        lambda: rehashed(
            {
                **with_member(ALLOCATIONS, many(ALLOCATIONS, numbered("user_id"), 1)),
                STATEMENTS: many(
                    STATEMENTS, lambda line, number: with_key(line, "statement_id", f'"{number:032x}"'), 0.1
                ),
            }
        ),
        WORK,
    ),
    "a payout line of empty objects": (one_line(STATEMENTS, "payouts", objects(200_000)), MEMORY),
    "facts of many labels": (lambda: with_facts(1000, 8), DIFFERENCES),
    "facts of more labels than a policy may look at": (
        lambda: with_facts(1000, 40),
        "the facts that a policy decides by up to here take more memory than an archive may",
    ),
    "facts of many events": (lambda: with_facts(0, 7), DIFFERENCES),
    f"{MAX_SIGNATURES} signatures": (lambda: signatures(MAX_SIGNATURES), DIFFERENCES),
    f"{MAX_SIGNATURES} signatures of inputs": (
        lambda: inputs_signatures(MAX_SIGNATURES - 1),
        "not signed: the events and decisions",
    ),
    "more signatures": (lambda: signatures(MAX_SIGNATURES + 1), "signatures are more than the 500 of an archive"),
    "hashes of nested lists": (
        lambda: packed(with_member("line-hashes.json", b"[" + b"[]," * 5 * MEGABYTE + b"[]]")),
        "line-hashes.json: it cannot be read, so changes are not located by line",
    ),
    "overlapping entries": (overlapping, f"{MEMBERS[1]} overlaps what stands before or after it"),
    "a directory without end": (many_entries, "is longer than that of any archive"),
    "approvers without end": (
        lambda: archive_bytes(with_spec(finalized(), approvers=[f"0x{number:040x}" for number in range(100_000)])),
        DIFFERENCES,
    ),
    "weights without end": (
        lambda: archive_bytes(with_epoch(finalized(), weights_milli={f"github:{kind}": 1 for kind in range(100_000)})),
        DIFFERENCES,
    ),
    "50,000 events": (lambda: archive_bytes(many_events(50_000, 200)), "every number follows from the rows before it"),
    "30,000 users": (lambda: archive_bytes(many_events(30_000, 30_000)), "every number follows"),
}


@pytest.mark.e2e  # a process for each, seconds at a time
@pytest.mark.parametrize("name", FILES)
def test_any_file_is_refused_or_verified_in_seconds_and_bounded_memory(tmp_path: Path, name: str) -> None:
    make, printed = FILES[name]
    file = tmp_path / "epoch.zip"
    file.write_bytes(make())
    code, text = verified(file)
    assert printed in text, text[-2000:]
    assert code == (0 if printed.startswith(("every", "not signed")) else 1)
    assert len(text) < 5 * MEGABYTE


MARKS = "\u0301\u0323"
MOST, NASTY = 31 * MEGABYTE, MEGABYTE // 2
# What is expensive to read, to copy or to look through; as long as a line may be, or nearly so.
VALUES: dict[str, Callable[[], str]] = {
    "text": lambda: f'"{"x" * MOST}"',
    "a key": lambda: f'{{"{"x" * MOST}":1}}',
    "a list": lambda: f'["{"x" * MOST}"]',
    "digits and signed tokens": lambda: f'"000000001{"eyJ-" * (NASTY // 4)}"',
    "marks in no order": lambda: f'"a{MARKS * (NASTY // 4)}"',
    "spaces": lambda: f'"x{" " * NASTY}x"',
    "escapes": lambda: f'"{"%41&#65;" * (NASTY // 8)}"',
}


@pytest.mark.e2e  # some hundred processes
@pytest.mark.parametrize("name", [name for name in MEMBERS[:-2] if members_of()[name]])
def test_whatever_stands_in_a_field_is_refused_or_verified_in_seconds_and_bounded_memory(
    tmp_path: Path, name: str
) -> None:
    file = tmp_path / "epoch.zip"
    first, *others = lines(name)
    for key in json.loads(first):
        for value in VALUES.values():
            changed_line = with_key(first.decode(), key, value()).encode()
            file.write_bytes(rehashed(with_member(name, b"\n".join([changed_line, *others, b""]))))
            code, text = verified(file)
            assert code in {0, 1}
            assert len(text) < MEGABYTE // 10, (name, key)


@pytest.mark.parametrize("key", ["user_id", "override_reason"])
def test_a_nasty_value_is_copied_into_no_message(tmp_path: Path, key: str) -> None:
    file = tmp_path / "epoch.zip"
    first, *others = lines(ALLOCATIONS)
    value = VALUES["digits and signed tokens"]()
    changed_line = with_key(first.decode(), key, value).encode()
    file.write_bytes(rehashed(with_member(ALLOCATIONS, b"\n".join([changed_line, *others, b""]))))
    code, text = verified(file)
    assert code == (1 if key == "user_id" else 0)
    assert len(text) < 20_000


def test_entries_that_overlap_or_outrun_the_file_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "epoch.zip"
    file.write_bytes(overlapping())
    with pytest.raises(ArchiveError, match=f"{MEMBERS[1]} overlaps what stands before or after it"):
        read_archive(file, ArchiveLimits(50))


@pytest.mark.parametrize("digits", [MAX_DIGITS, MAX_DIGITS + 1, 4299, 4300, 4301, 100_000])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        (EPOCH, "epoch_id"),
        (ALLOCATIONS, "proposed_units"),
        (ALLOCATIONS, "activity_count"),
        ("pool.jsonl", "amount_credits"),
    ],
)
def test_a_number_of_any_length_is_a_difference_or_a_refusal(
    tmp_path: Path, name: str, key: str, quote: str, digits: int
) -> None:
    first, *others = lines(name)
    number = with_key(first.decode(), key, f"{quote}{'9' * digits}{quote}").encode()
    file = tmp_path / "epoch.zip"
    file.write_bytes(rehashed(with_member(name, b"\n".join([number, *others, b""]))))
    if digits > MAX_DIGITS:
        with pytest.raises(ArchiveError, match=f"{name}( line 1)?: "):
            read_archive(file)
        return
    try:
        read = read_archive(file)
    except ArchiveError:
        assert key == "activity_count"  # which is a number of JSON's, never a string
        assert quote
    else:
        assert [*read.damages, *verify(read.facts)]


@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1, 5000])
@pytest.mark.parametrize("name", [PINNED_SPEC, EVENTS, "pool.jsonl"])
def test_json_of_any_depth_is_read_or_refused(tmp_path: Path, name: str, depth: int) -> None:
    first, *others = lines(name)
    key = {PINNED_SPEC: "deep", EVENTS: "metadata", "pool.jsonl": "inputs"}[name]
    value = '{"a":' * (depth - 1) + "1" + "}" * (depth - 1)
    deep = with_key(first.decode(), key, value).encode()
    file = tmp_path / "epoch.zip"
    file.write_bytes(rehashed(with_member(name, b"\n".join([deep, *others, b""]))))
    if depth > MAX_JSON_DEPTH:
        with pytest.raises(ArchiveError, match="not JSON"):
            read_archive(file)
    else:
        assert read_archive(file).damages == ()


@pytest.mark.parametrize("number", ["1.5", "1e3", "1e400", "NaN", "-Infinity"])
def test_a_number_that_has_no_one_spelling_is_refused(tmp_path: Path, number: str) -> None:
    file = tmp_path / "epoch.zip"
    line = with_key(lines(PINNED_SPEC)[0].decode(), "deep", number).encode()
    file.write_bytes(rehashed(with_member(PINNED_SPEC, line + b"\n")))
    with pytest.raises(ArchiveError, match=r"repo-spec\.json: not JSON"):
        read_archive(file)


@pytest.mark.parametrize("instant", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
@pytest.mark.parametrize(("name", "key"), [(EPOCH, "period_start"), (EVENTS, "event_time"), (SIGNATURES, "signed_at")])
def test_a_time_outside_of_all_years_is_refused(tmp_path: Path, name: str, key: str, instant: str) -> None:
    first, *others = lines(name)
    line = with_key(first.decode(), key, f'"{instant}"').encode()
    file = tmp_path / "epoch.zip"
    file.write_bytes(rehashed(with_member(name, b"\n".join([line, *others, b""]))))
    with pytest.raises(ArchiveError, match=f"{key}: Value error, a time in the years 1 to 9999"):
        read_archive(file)


@pytest.mark.parametrize("value", ["[/x]", "[link=https://evil.example]x", "\x1b]0;owned\x07", "a\u202eb", "\x9b2J"])
def test_what_an_archive_says_is_never_markup_and_acts_on_nothing(tmp_path: Path, value: str) -> None:
    facts = changed(finalized(), "events", 0, id=value, platform_login=value)
    facts = changed(facts, "allocations", 0, user_id=value)
    facts = with_spec(facts, approvers=[value], scope_key=value)
    file = tmp_path / "epoch.zip"
    file.write_bytes(archive_bytes(facts))
    code, text = verified(file)
    assert code == 1
    assert not {character for character in text if character != "\n" and not character.isprintable()}
    assert "[/x]" in text or value != "[/x]"


def test_a_thousand_differences_of_a_kind_are_enough() -> None:
    facts = finalized()
    rows = [facts.curation[0].model_copy(update={"event_id": f"none {number}"}) for number in range(5000)]
    found_differences = verify(with_rows(facts, "curation", rows))
    assert sum(difference.where.startswith("curation none") for difference in found_differences) < MAX_DIFFERENCES + 1
    assert any(difference.where.startswith("allocations") for difference in found_differences)


def test_signatures_of_strangers_and_the_same_again_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def recover(message: str, signature: str) -> str:
        asked.append(signature)
        return "0x"

    monkeypatch.setattr("ledger_pipeline.verification.examined.recover_signer", recover)
    facts = finalized()
    again = [*facts.signatures] * (MAX_SIGNATURES - 1)
    stranger = facts.signatures[0].model_copy(update={"signer_wallet": "0x" + "1" * 40})
    found_differences = verify(with_rows(facts, "signatures", [*again, stranger]))
    assert len(asked) == 1
    wheres = {difference.where for difference in found_differences}
    assert f"signatures {stranger.signer_wallet} of {FIRST}" in wheres


def test_a_larger_archive_is_verified_when_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "epoch.zip"
    facts = with_spec(finalized(), note="x" * MEGABYTE)
    file.write_bytes(archive_bytes(facts))
    with pytest.raises(ArchiveError, match="more than 1 megabytes: if you know who made it, give --max-megabytes"):
        read_archive(file, ArchiveLimits(1))
    assert read_archive(file, ArchiveLimits(2)).damages == ()


@pytest.mark.parametrize(
    ("make", "megabytes"),
    [
        (finalized, 1),
        (lambda: many_events(300, 300), 1),
        (lambda: with_spec(finalized(), note="x" * 40 * MEGABYTE), 63),
        (lambda: changed(finalized(), "events", 0, id="\N{PARTY POPPER}" * 3 * MEGABYTE), 76),
    ],
    ids=["small", "of many events", "with a long line", "with a long id"],
)
def test_who_writes_an_archive_is_told_what_verifying_it_needs(
    tmp_path: Path, make: Callable[[], EpochFacts], megabytes: int
) -> None:
    file = tmp_path / "epoch.zip"
    needed = write_archive(make(), file).megabytes
    assert needed == megabytes
    read_archive(file, ArchiveLimits(needed))
    if needed > DEFAULT_MEGABYTES:
        with pytest.raises(ArchiveError, match="--max-megabytes"):
            read_archive(file, ArchiveLimits(needed - 1))


def test_an_archive_of_few_megabytes_and_much_work_needs_more() -> None:
    few = Amounts(rows=100, values=1000, text_bytes=10**6, signatures=2, payouts=500, payout_bytes=10**5)
    assert needed_megabytes(10**6, few, 1000, 1000) == 1 + round(50 * few.seconds / 6.5)
    for much in (replace(few, payouts=2 * 10**6), replace(few, payout_bytes=30 * 10**9)):
        megabytes = needed_megabytes(10**6, much, 1000, 1000)
        ArchiveLimits(megabytes).check_work(much)
        with pytest.raises(ArchiveError, match="to compute, would take"):
            ArchiveLimits(megabytes - 1).check_work(much)
    # An epoch that was amended as often as it may be, with two signers each time.
    signed = replace(few, signatures=600)
    megabytes = needed_megabytes(10**6, signed, 1000, 1000)
    ArchiveLimits(megabytes).check_work(signed)
    with pytest.raises(ArchiveError, match="signatures are more than the 500 of an archive of 50 MB: if you know who"):
        ArchiveLimits().check_work(signed)


def test_statements_of_users_with_long_ids_are_counted_by_their_bytes(tmp_path: Path) -> None:
    """One id of 30 MB in each of 1,000 statements is 30 GB to hash."""
    facts = finalized()
    allocation = facts.allocations[0].model_copy(update={"user_id": "a" * 8 * MEGABYTE})
    statements = [
        facts.statements[0].model_copy(update={"statement_id": UUID(int=number + 1), "payouts": []})
        for number in range(1000)
    ]
    file = tmp_path / "epoch.zip"
    changed_facts = facts.model_copy(update={"allocations": [allocation], "statements": statements, "signatures": []})
    needed = write_archive(changed_facts, file).megabytes
    with pytest.raises(ArchiveError, match=r"1,000 payouts of 8\d{9} bytes to compute, would take"):
        read_archive(file)
    assert needed > DEFAULT_MEGABYTES


# An archive is its bytes.


def reversed_lines(content: bytes) -> bytes:
    return b"".join(line + b"\n" for line in reversed(content.split(b"\n")[:-1]))


@pytest.mark.parametrize(
    ("name", "change", "place"),
    [
        (EVENTS, reversed_lines, f"{EVENTS} line 2"),
        (CURATION, reversed_lines, f"{CURATION} line 2"),
        (ALLOCATIONS, reversed_lines, f"{ALLOCATIONS} line 2"),
        ("pool.jsonl", reversed_lines, "pool.jsonl line 2"),
        (STATEMENTS, reversed_lines, f"{STATEMENTS} line 2"),
        (EVENTS, lambda content: content[:-1], EVENTS),
        (EPOCH, lambda content: content[:-1], f"{EPOCH} line 1"),
        (PINNED_SPEC, lambda content: content[:-1], f"{PINNED_SPEC} line 1"),
        (EVENTS, lambda content: content.replace(b":", b": ", 1), f"{EVENTS} line 1"),
        (EVENTS, lambda content: content.replace(b"\n", b" \n", 1), f"{EVENTS} line 1"),
        (EPOCH, lambda content: content + b"\n", f"{EPOCH} line 1"),
        (PINNED_SPEC, lambda content: b" " + content, f"{PINNED_SPEC} line 1"),
    ],
    ids=[
        *("events turned", "curation turned", "allocations turned", "pool turned", "statements turned"),
        *("no last line feed", "epoch without a line feed", "spec without a line feed", "a space inside"),
        *("a space at the end", "a line feed more", "a space before"),
    ],
)
def test_another_spelling_of_the_same_rows_is_another_archive_and_refused(
    tmp_path: Path, name: str, change: Callable[[bytes], bytes], place: str
) -> None:
    members = members_of()
    assert change(members[name]) != members[name]
    file = tmp_path / "epoch.zip"
    file.write_bytes(rehashed({**members, name: change(members[name])}))
    assert place in [damage.where for damage in read_archive(file).damages]


def other_hashes() -> Iterable[bytes]:
    members = members_of()
    hashes = members["line-hashes.json"].replace(b'":"', b'": "')
    sums = members["SHA256SUMS"]
    yield packed({**members, "SHA256SUMS": sums + b"\n"})
    yield packed({**members, "SHA256SUMS": b"\n".join([*reversed(sums.split(b"\n")[:-1]), b""])})
    yield packed({**members, "line-hashes.json": hashes})


def test_hashes_in_another_spelling_are_refused_too(tmp_path: Path) -> None:
    file = tmp_path / "epoch.zip"
    for content in other_hashes():
        assert content != CONTENT
        file.write_bytes(content)
        assert read_archive(file).damages
