"""The commands after collection: what each prints, and what it says in one line where it cannot do what was asked."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ledger_pipeline.bindings_file import read_bindings
from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.signing import Scheme, TypedData
from ledger_pipeline.core.sources import ISSUE
from ledger_pipeline.pipeline.chain import message_of
from ledger_pipeline.pipeline.contributions import percent_text
from ledger_pipeline.pipeline.settle import finalize
from ledger_pipeline.pipeline.signed_inputs import SignedInputs
from ledger_pipeline.pipeline.unread import HOW_TO_CLOSE, WHAT_TO_DO
from ledger_pipeline.store.identities import NO_REASON
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import AppendOutcome, EpochStatus
from ledger_pipeline.store.roles import WRITER, ensure_logins
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline.verification.inputs_root import inputs_root
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline_tests.builders import (
    ADA,
    GRACE,
    PRODUCER,
    REPO,
    SCOPE_ID,
    cursor,
    instant,
    note_unread,
    pull_request,
    unread,
)
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.pipeline.test_chain import forge
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    APPROVERS,
    GRACE_USER,
    POOL,
    STRANGER,
    Books,
    collected,
    finalized,
    reviewed,
)
from ledger_pipeline_tests.store.test_roles import url_of

EPOCH = ("--epoch", "2026-02-16")
ADAS = pull_request(1).id

Run = Callable[..., Ran]


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path) -> Run:
    """A command on the test's ledger; its scope has approvers and a pool."""
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    return lambda *arguments, **variables: command(*arguments, **{**given, **variables})


def said(ran: Ran) -> str:
    """Why it failed, in one line."""
    assert ran.code == 1, ran.out
    [line] = ran.err.splitlines()
    return line


# Identities.


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("b.csv", "external_id,user_id\n583231,ada\n1024025,grace\n"),
        ("b.csv", "provider,external_id,user_id\ngithub,583231,ada\ngithub,1024025,grace\ngithub,583231,ada\n"),
        (
            "b.yaml",
            "- {external_id: 583231, user_id: ada}\n- {provider: github, external_id: '1024025', user_id: grace}\n",
        ),
        ("b.yml", "- external_id: 583231\n  user_id: ada\n- external_id: 1024025\n  user_id: grace\n"),
    ],
)
def test_bindings_are_read_from_csv_and_yaml(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert read_bindings(file) == [NewBinding("github", "583231", "ada"), NewBinding("github", "1024025", "grace")]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("b.csv", "external_id,user_id\nada,ada\n", "row 1: github account 'ada' is not github's numeric id"),
        ("b.csv", "external_id,user_id\n7,\n", "row 1: user_id is missing"),
        ("b.csv", "external_id,user_id\n7,ada\n7,bo\n", "github 7 is both ada and bo"),
        ("b.csv", "external_id,name\n7,ada\n", "is no binding"),
        ("b.csv", "external_id,user_id\n", "no list of bindings"),
        ("b.yaml", "external_id: 7\n", "no list of bindings"),
        ("b.yaml", "- [7, ada]\n", "row 1: ['7', 'ada'] is no binding"),
        ("b.yaml", "- {external_id: 0123, user_id: ada}\n", "row 1: github account '0123' is not github's numeric id"),
        ("b.yaml", "- {external_id: 7, user_id: ~}\n", "row 1: user_id is missing"),
        ("b.yaml", "- {external_id: 7, user_id: [ada]}\n", "each of its values is one text"),
        ("b.yaml", '- {external_id: 7, user_id: "user-ada:2000\\nuser-grace"}\n', "has a colon"),
        ("b.csv", 'external_id,user_id\n7,"a\u200bb"\n', "U+200B, which shows nothing"),
        ("b.yaml", "- {external_id: 7", "not YAML"),
        ("b.txt", "7,ada", "give a .csv, .yaml or .yml file"),
    ],
)
def test_a_list_of_bindings_that_is_malformed_names_file_and_row(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(IdentityError) as refused:
        read_bindings(file)
    assert str(file) in str(refused.value)
    assert says in str(refused.value)


def test_a_list_is_bound_as_a_whole_or_not_at_all(run: Run, ledger: PostgresLedger, tmp_path: Path) -> None:
    assert run("identities", "bind", "--account", "7", "--user", "ana").out == "bound\n"
    file = tmp_path / "b.csv"
    file.write_text("external_id,user_id\n8,bo\n7,eve\n")
    refused = said(run("identities", "import", str(file)))
    assert "nothing stored: github 7 is ana, not eve" in refused
    assert [binding.external_id for binding in ledger.identities.bindings()] == ["7"]
    assert "moved, with 0 curated events" in run("identities", "bind", "--account", "7", "--user", "eve", "--move").out
    assert [row["user_id"] for row in run("identities", "list", "--json").json] == ["eve"]
    [row] = run("identities", "list", "--json").json
    assert (row["rests_on"], row["reason"], row["wallet"]) == ("operator", NO_REASON, None)
    moved = run("identities", "bind", "--account", "7", "--user", "ana", "--move", "--reason", "eve gave it back")
    assert moved.code == 0
    history = run("identities", "history", "--account", "7", "--json").json
    assert [(row["place"], row["user_id"]) for row in history] == [(1, "ana"), (2, "eve"), (3, "ana")]
    for command in (("list",), ("history", "--account", "7")):
        assert "an operator's word: eve gave it back" in run("identities", *command).out
    file.write_text("external_id,user_id\n9,mia\n")
    assert "what is new rests on an operator's word: it is in the list" in run("identities", "import", str(file)).out
    assert "say why" in said(run("identities", "bind", "--account", "10", "--user", "mia", "--reason", " "))


def test_who_counts_for_nobody_is_listed_with_what_is_at_stake(run: Run, ledger: PostgresLedger) -> None:
    collected(ledger, users={})
    rows = run("identities", "unresolved", "--json").json
    assert [(row["login"], row["events"], row["units_milli"]) for row in rows] == [
        ("ada", 2, "2000"),
        ("grace", 1, "500"),
    ]
    assert "2 accounts without a user, 1 epoch\n" in run("identities", "unresolved", *EPOCH).out


# Items that cannot be read.


def test_an_epoch_that_lacks_an_item_does_not_close_and_says_which(run: Run, ledger: PostgresLedger) -> None:
    collected(ledger)
    streams = ("pull_requests", "reviews", "issues")
    read = [cursor("2026-02-24", "2026-02-16", stream=stream) for stream in streams]
    ledger.scans.finish(SCOPE_ID, read, instant("2026-02-24"))
    note_unread(ledger, unread(12, latest="2026-03-01"))
    shown = run("epoch", "show", *EPOCH).out
    assert f"blocked: 1 item cannot be read: {REPO}#12 (pull request 12), unread since 2026-02-18T00:00Z: " in shown
    refused = said(run("epoch", "close", *EPOCH))
    assert f"{REPO}#12 (pull request 12), unread since" in refused
    assert WHAT_TO_DO in refused
    assert HOW_TO_CLOSE in refused
    note_unread(ledger, settled=[unread(12).key])
    assert "is in review" in run("epoch", "close", *EPOCH).out


def read_to_its_end(ledger: PostgresLedger) -> None:
    collected(ledger)
    streams = ("pull_requests", "reviews", "issues")
    read = [cursor("2026-02-24", "2026-02-16", stream=stream) for stream in streams]
    ledger.scans.finish(SCOPE_ID, read, instant("2026-02-24"))


def test_an_epoch_closes_without_items_that_nobody_ever_reads_and_names_them(run: Run, ledger: PostgresLedger) -> None:
    read_to_its_end(ledger)
    note_unread(ledger, unread(12, latest="2026-03-01"), unread(0, kind=ISSUE, latest="2026-03-01"))
    closing = ("epoch", "close", *EPOCH)
    why = ("--reason", "GitHub support: lost", "--by", "grace")
    assert f"{REPO}#issue (an issue without a number)" not in said(run(*closing, "--without", f"{REPO}#issue", *why))
    unknown = said(run(*closing, "--without", f"{REPO}#12", "--without", f"{REPO}#99", *why))
    assert f"no unread item of the epoch is {REPO}#99; unread are: {REPO}#12, {REPO}#issue" in unknown
    assert said(run(*closing, "--without", f"{REPO}#12", *why)).count("unread since") == 1
    both = ("--without", f"{REPO.upper()}#12", "--without", f"{REPO}#issue")
    assert run(*closing, *both).code == run(*closing, *both, "--reason", " ").code == run(*closing, *why).code == 2
    assert "is in review" in run(*closing, *both, *why).out

    shown = run("epoch", "show", *EPOCH).out
    assert f"closed without {REPO}#12 by grace at " in shown
    assert ": GitHub support: lost (it could not be read: its author is nobody)" in shown
    [issue, pull_request_] = run("epoch", "show", *EPOCH, "--json").json["closed_without"]
    assert (issue["item"], pull_request_["item"]) == (f"{REPO}#issue", f"{REPO}#12")
    assert (issue["actor"], issue["reason"], issue["unread_reason"]) == (
        "grace",
        "GitHub support: lost",
        "its author is nobody",
    )
    late = ledger.events.append(SCOPE_ID, [pull_request(12)], PRODUCER, instant("2026-03-02"))
    assert set(late.values()) == {AppendOutcome.LATE}


# Curation, allocations, pool.


def test_an_event_is_judged_with_a_note_and_only_where_it_is_curated(run: Run, ledger: PostgresLedger) -> None:
    books = collected(ledger)
    judged = ("curate", *EPOCH, "--event", ADAS, "--note", "a copy", "--exclude")
    assert "has no event github:pr:no/such:1" in said(run(*judged[:4], "github:pr:no/such:1", *judged[5:]))
    # Nothing was curated before: the command does what the asset would, and says what follows.
    assert run(*judged).out == f"{ADA_USER}: 2 -> 1 units\n"
    assert [row.proposed_units for row in ledger.allocations.of(books.epoch) if row.user_id == ADA_USER] == [1000]
    assert run(*judged).out == "set; nobody's units change by it\n"
    for wrong in (
        ("curate", *EPOCH, "--event", ADAS, "--exclude"),
        ("curate", *EPOCH, "--event", ADAS, "--exclude", "--note", " "),
        ("curate", *EPOCH, "--event", ADAS, "--note", "why"),
        ("curate", *EPOCH, "--event", ADAS, "--note", "why", "--weight-milli", "-1"),
        ("curate", *EPOCH, "--event", ADAS, "--note", "why", "--weight-milli", "1", "--clear-weight"),
    ):
        assert run(*wrong).code == 2, wrong


def test_allocations_are_proposed_decided_and_taken_back(run: Run, ledger: PostgresLedger) -> None:
    collected(ledger)
    proposed = run("allocations", "propose", *EPOCH, "--json").json
    assert [(row["user_id"], row["proposed_units_milli"]) for row in proposed] == [
        ("user-ada", "2000"),
        ("user-grace", "500"),
    ]
    decide = ("allocations", "set", *EPOCH, "--user", ADA_USER)
    assert run(*decide, "--units-milli", "7").code == 2  # no reason
    assert run(*decide).code == 2
    assert "as agreed" in run(*decide, "--units-milli", "7", "--reason", "as agreed").out
    assert run("allocations", "propose", *EPOCH, "--json").json[0]["final_units_milli"] == "7"
    assert run(*decide, "--clear").code == 0
    assert run("allocations", "list", *EPOCH, "--json").json[0]["final_units_milli"] is None


def test_a_pool_takes_components_with_evidence_while_it_is_open(run: Run, ledger: PostgresLedger) -> None:
    books = collected(ledger)
    add = ("pool", "add", *EPOCH, "--component", "top_up", "--amount-credits", "5", "--evidence", "https://vote/1")
    assert run(*add).out == "added\n"
    assert run(*add).out == "it was there already\n"
    assert "components never change" in said(run(*add[:-3], "6", *add[-2:]))
    assert "is not known" in said(run("pool", "add", *EPOCH, "--component", "gift", *add[6:]))
    assert "what it was computed from" in said(run("pool", "add", *EPOCH, "--component", "kpi_bonus_v0", *add[6:]))
    refused = run(*add, "--inputs", "[" * 50_000)
    assert (refused.code, "--inputs is not JSON: it nests deeper than 64 levels" in refused.err) == (2, True)
    books.close()
    assert "the pool of epoch 2026-02-16 is locked: it is in review" in said(run(*add))
    assert [row["component_id"] for row in run("pool", "list", *EPOCH, "--json").json] == ["base_issuance", "top_up"]


# The epoch.


def test_an_epoch_is_closed_by_hand_once_it_is_read_to_its_end(run: Run, ledger: PostgresLedger) -> None:
    books = collected(ledger)
    assert "is not read to its end" in said(run("epoch", "close", *EPOCH))
    streams = ("pull_requests", "reviews", "issues")
    ledger.scans.finish(
        books.scope.scope_id,
        [cursor("2026-02-23T01:00", stream=stream) for stream in streams],
        instant("2026-02-23T01:00"),
    )
    assert "is in review" in run("epoch", "close", *EPOCH).out
    assert books.epoch.status is EpochStatus.REVIEW
    assert [component.component_id for component in ledger.pool.of(books.epoch)] == ["base_issuance"]
    assert "there is no step backwards" in said(run("epoch", "close", *EPOCH))


def test_an_epoch_that_was_never_collected_is_told(run: Run) -> None:
    assert "is not in the ledger: `ledger-pipeline collect --epoch 2026-02-16`" in said(run("epoch", "show", *EPOCH))


def test_epochs_are_listed_and_shown_with_what_blocks_them(run: Run, ledger: PostgresLedger) -> None:
    reviewed(ledger)
    [row] = run("epoch", "list", "--json").json
    assert (row["epoch"], row["status"], row["pool_total_credits"]) == ("2026-02-16", "review", None)
    assert run("epoch", "show", *EPOCH, "--json").json["blocks_next_step"] == []
    assert "review" in run("epoch", "list").out


def test_an_epoch_is_shown_as_its_approver_has_to_see_it(run: Run, ledger: PostgresLedger) -> None:
    books = reviewed(ledger, users={ADA.user_id: ADA_USER})
    assert (
        run("allocations", "set", *EPOCH, "--user", "user-bo", "--units-milli", "500", "--reason", "released").code == 0
    )
    judged = ("curate", *EPOCH, "--event", ADAS, "--weight-milli", "500", "--note", "half of it was generated")
    assert run(*judged).code == 0
    shown = run("epoch", "show", *EPOCH)
    for line in (
        "state: ready to sign\n",
        f"may sign: {', '.join(APPROVERS)}\n",
        "to be signed: 10,000 credits",
        "the pool: 10,000 credits",
        "1 account without a user: what is theirs is reserved; `ledger-pipeline identities bind` links one to a user\n",
        "1 event that a person decided about\n",
        "half of it was generated",
        "released",
        "60 %",
    ):
        assert line in shown.out, line
    seen = run("epoch", "show", *EPOCH, "--json").json
    assert (seen["state"], seen["ready_to_sign"]) == ("ready to sign", True)
    assert [(row["user_id"], row["units_milli"], row["amount_credits"]) for row in seen["contributors"]] == [
        (ADA_USER, "1500", "6000"),
        (f"identity:github:{GRACE.user_id}", "500", "2000"),
        ("user-bo", "500", "2000"),
    ]
    [grace] = seen["accounts_without_a_user"]
    assert (grace["login"], grace["units_milli"], grace["credits"]) == ("grace", "500", "2000")
    assert grace["is_reserved"]
    assert [payout.amount_credits for payout in books.draft().payouts] == [2000, 6000, 2000]


def test_what_has_changed_since_the_proposal_is_named(run: Run, ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    ledger.curation.judge(books.epoch, ADAS, Judgement("a copy", included=False))
    shown = run("epoch", "show", *EPOCH).out
    assert f"changed since: {ADA_USER}: the weights propose 1 units by now, 2 are stored\n" in shown
    assert "ready to sign" not in shown


def test_an_amendment_is_shown_before_it_is_signed(run: Run, ledger: PostgresLedger) -> None:
    finalized(ledger)
    assert "state: signed by 0x" in run("epoch", "show", *EPOCH).out
    assert run("epoch", "amend", *EPOCH, "--user", ADA_USER, "--units-milli", "500", "--reason", "twice").code == 0
    shown = run("epoch", "show", *EPOCH).out
    assert "state: ready to sign: an amendment\n" in shown
    assert re.search(rf"changed since: {ADA_USER}: put right to 0.5 units \(correction:\d+\): twice\n", shown)
    assert "50 %" in shown


def test_an_epoch_is_finalized_with_the_database_alone(run: Run, ledger: PostgresLedger) -> None:
    books = reviewed(ledger)
    finalizing = ("epoch", "finalize", *EPOCH, "--direct", "--signature")
    nowhere = {"TEMPORAL_ADDRESS": "127.0.0.1:1"}
    assert "written, with its signature" in run(*finalizing, books.signature(), **nowhere).out
    assert "nothing was written" in run(*finalizing, APPROVER.sign(statement_of(books)), **nowhere).out
    assert "no approver of default" in said(run(*finalizing, STRANGER.sign(statement_of(books)), **nowhere))


def statement_of(books: Books) -> str:
    """What was signed."""
    [statement] = books.ledger.statements.of(books.epoch)
    return message_of(books.ledger.node_id, books.epoch, statement)


def test_a_statement_is_shown_verified_and_exported(run: Run, ledger: PostgresLedger, tmp_path: Path) -> None:
    books = finalized(ledger)
    assert "signed by 0x" in run("epoch", "show", *EPOCH).out
    ran = run("verify", *EPOCH, "--user", ADA_USER)
    assert ran.code == 0, ran.err
    assert ADAS in ran.out
    assert "2 github:pr_merged x 1" in ran.out
    file = tmp_path / "epoch.zip"
    digest = run("export", *EPOCH, "--output", str(file)).out.split("sha256 ")[1].strip()
    assert digest in run("verify", "--archive", str(file)).out
    assert run("export", *EPOCH, "--output", str(file)).out.endswith(f"{digest}\n")  # the same bytes again
    contributors = run("verify", "--archive", str(file), "--json").json["contributors"]
    assert sum(int(contributor["amount_credits"]) for contributor in contributors) == POOL
    assert "it has its statement" in said(run("epoch", "sign-data", *EPOCH))
    assert books.epoch.pool_total_credits == POOL


def test_a_share_reads_as_percent_and_is_exact_in_json(run: Run, ledger: PostgresLedger) -> None:
    finalized(ledger)
    for command in (("epoch", "show"), ("verify",)):
        read = run(*command, *EPOCH)
        assert "80 %" in read.out, command
        assert "0.800000" not in read.out, command
        assert '"0.800000"' in run(*command, *EPOCH, "--json").out, command


@pytest.mark.parametrize(
    ("share", "read"),
    [
        ("0.097701", "9.7701 %"),
        ("1.000000", "100 %"),
        ("0.000000", "0 %"),
        ("0.000001", "0.0001 %"),
        # Whoever may write to the ledger, or made an archive, may have spelt it otherwise.
        ("1e999999999", "1e999999999"),
        ("a fifth", "a fifth"),
    ],
)
def test_percent_is_the_share_and_what_is_no_share_stays_as_it_is(share: str, read: str) -> None:
    assert percent_text(share) == read


@pytest.mark.parametrize(
    ("needed", "said_of_it"),
    [(50, ""), (51, "gives --max-megabytes 51"), (2001, "it would take --max-megabytes 2001, and 2000 are the most")],
)
def test_export_says_what_verifying_will_take(
    run: Run, ledger: PostgresLedger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: int, said_of_it: str
) -> None:
    finalized(ledger)
    monkeypatch.setattr("ledger_pipeline.verification.archive.needed_megabytes", lambda **_: needed)
    said_at_export = run("export", *EPOCH, "--output", str(tmp_path / "epoch.zip")).out
    assert said_of_it in said_at_export
    assert ("--max-megabytes" in said_at_export) == bool(said_of_it)


def test_what_was_pinned_otherwise_is_said_wherever_an_epoch_is_looked_at(
    run: Run, ledger: PostgresLedger, tmp_path: Path
) -> None:
    books = reviewed(ledger)
    (tmp_path / "edited").mkdir()
    edited = write_repo_spec(tmp_path / "edited", REPO, approvers=APPROVERS, base_issuance_credits=POOL + 5)
    says = f'base_issuance_credits was pinned as "{POOL}", and the repo-spec says "{POOL + 5}"'

    def with_edited(*arguments: str) -> Ran:
        return run(*arguments, LEDGER_REPO_SPEC=str(edited))

    assert f"the pinned spec differs from the repo-spec now: {says}" in with_edited("epoch", "show", *EPOCH).out
    [named] = with_edited("epoch", "show", *EPOCH, "--json").json["pinned_spec_differs"]
    assert (named["name"], named["pays"]) == ("base_issuance_credits", True)
    assert says in said(with_edited("epoch", "sign-data", *EPOCH))
    accepted = with_edited("epoch", "sign-data", *EPOCH, "--accept-pinned-spec")
    assert accepted.out.rstrip("\n") == books.draft().message
    finalize_ = ("epoch", "finalize", *EPOCH, "--direct", "--signature", books.signature())
    assert says in said(with_edited(*finalize_))
    assert with_edited(*finalize_, "--accept-pinned-spec").code == 0

    ran = with_edited("verify", *EPOCH)
    assert (ran.code, f"warning: the pinned spec differs from the repo-spec now: {says}" in ran.out) == (0, True)
    assert with_edited("verify", *EPOCH, "--json").json["pinned_spec_differs"] == [says]
    archive = tmp_path / "epoch.zip"
    assert run("export", *EPOCH, "--output", str(archive)).code == 0
    verified = run("verify", "--archive", str(archive), "--spec", str(edited))
    assert verified.code == 1
    assert f'repo-spec base_issuance_credits: pinned "{POOL}", but --spec says "{POOL + 5}"' in verified.out
    assert "differs" not in run("verify", *EPOCH).out


def test_verify_says_what_is_signed_and_compares_the_approvers_that_one_knows(run: Run, ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    approvers = ",".join(books.scope.approvers)
    ran = run("verify", *EPOCH, "--approvers", approvers)
    assert ran.code == 0, ran.err
    facts = facts_of(ledger.statements.rows(books.epoch))
    assert f"approver_set_hash {facts.epoch.approver_set_hash}\n" in ran.out
    assert "signed: node, scope, epoch, each user's units, the pool's total\n" in ran.out
    assert f"their root is {inputs_root(facts)}: " in ran.out
    assert run("verify", *EPOCH, "--approvers", str(facts.epoch.approver_set_hash)).code == 0
    strangers = run("verify", *EPOCH, "--approvers", "0x" + "1" * 40)
    assert "follows from --approvers" in strangers.out
    assert strangers.code == 1
    assert run("verify", *EPOCH, "--approvers", "ada").code == 2


def keys_of(value: object) -> Iterator[str]:
    """Every key of JSON, however deep; but for those of payouts, which the system we join names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from keys_of(None if key == "payouts" else inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


@pytest.mark.parametrize(
    "arguments",
    [
        ("allocations", "list", *EPOCH),
        ("identities", "unresolved", *EPOCH),
        ("epoch", "show", *EPOCH),
        ("epoch", "list"),
        ("epoch", "sign-data", *EPOCH),
        ("verify", *EPOCH),
    ],
    ids=" ".join,
)
def test_a_key_of_json_that_holds_milli_units_says_so(
    run: Run, ledger: PostgresLedger, arguments: tuple[str, ...]
) -> None:
    if "verify" in arguments:
        finalized(ledger)
    elif "unresolved" in arguments:
        collected(ledger, users={})
    else:
        reviewed(ledger)
    printed = run(*arguments, "--json").json
    keys = set(keys_of(printed))
    assert printed
    assert [key for key in keys if "units" in key.lower() and not key.endswith("_milli")] == []
    assert any(key.endswith("_milli") for key in keys) or "sign-data" in arguments


def test_what_is_not_finalized_cannot_be_verified_or_exported(run: Run, ledger: PostgresLedger) -> None:
    reviewed(ledger)
    for command in ("verify", "export"):
        assert "is in review, and has no statement to verify" in said(run(command, *EPOCH))
    assert run("verify").code == 2
    assert "cannot read" in said(run("verify", "--archive", "nowhere.zip"))


def test_sign_data_prints_the_message_and_nothing_else(run: Run, ledger: PostgresLedger) -> None:
    books: Books = reviewed(ledger)
    ran = run("epoch", "sign-data", *EPOCH)
    assert ran.out == books.draft().message
    for words in ("what is signed: 10,000 credits", ADA_USER, GRACE_USER, "8,000", "80 %"):
        assert words in ran.err  # above the message, and not in it
    printed = run("epoch", "sign-data", *EPOCH, "--json").json
    assert printed["message"] == books.draft().message
    about_inputs = run("epoch", "sign-data", *EPOCH, "--inputs").out
    assert about_inputs == printed["inputs_message"]
    assert f"Inputs Root: {printed['inputs_root']}\n" in about_inputs


def test_sign_data_prints_typed_data_that_a_wallet_signs_and_finalize_says_what_it_recognised(
    run: Run, ledger: PostgresLedger, tmp_path: Path
) -> None:
    books: Books = reviewed(ledger, chain_id=84532)
    typed = books.draft().forms[Scheme.TYPED_DATA]
    assert isinstance(typed, TypedData)
    printed = run("epoch", "sign-data", *EPOCH).out
    assert json.loads(printed) == typed.to_wallet_json()
    assert "\n" not in printed
    assert run("epoch", "sign-data", *EPOCH, "--format", "eip712").out == printed
    assert run("epoch", "sign-data", *EPOCH, "--format", "text").out == books.draft().message
    assert run("epoch", "sign-data", *EPOCH, "--json").json["typed_data"] == json.loads(printed)
    assert run("epoch", "sign-data", *EPOCH, "--inputs", "--format", "eip712").code == 2
    stranger = run("epoch", "finalize", *EPOCH, "--direct", "--signature", STRANGER.sign(typed))
    assert all(approver in said(stranger) for approver in APPROVERS)
    finalized_by = run("epoch", "finalize", *EPOCH, "--direct", "--signature", APPROVER.sign(typed))
    assert "the signature is of the scheme eip712-attribution-v1" in finalized_by.out
    assert f"signed by {APPROVER.address} (eip712-attribution-v1)" in run("epoch", "show", *EPOCH).out
    [statement] = run("epoch", "show", *EPOCH, "--json").json["statements"]
    assert statement["signatures"] == [{"signer": APPROVER.address, "scheme": "eip712-attribution-v1"}]
    verified = run("verify", *EPOCH)
    assert (verified.code, "schemes: eip712-attribution-v1" in verified.out) == (0, True)
    file = tmp_path / "epoch.zip"
    assert run("export", *EPOCH, "--output", str(file)).code == 0
    assert run("verify", "--archive", str(file)).code == 0


def test_an_epoch_without_a_chain_has_no_typed_data_and_says_what_gives_it(run: Run, ledger: PostgresLedger) -> None:
    books: Books = reviewed(ledger)
    assert run("epoch", "sign-data", *EPOCH, "--format", "text").out == books.draft().message
    ran = run("epoch", "sign-data", *EPOCH, "--format", "eip712")
    assert (ran.code, "governance.chain_id" in " ".join(ran.err.split())) == (2, True)
    made = run("epoch", "finalize", *EPOCH, "--direct", "--signature", books.signature())
    assert "scheme" not in made.out


def test_verify_says_who_signed_the_events_and_decisions_too(run: Run, ledger: PostgresLedger, tmp_path: Path) -> None:
    books: Books = reviewed(ledger)
    about_inputs = run("epoch", "sign-data", *EPOCH, "--inputs").out
    inputs = SignedInputs(APPROVER.sign(about_inputs), lambda rows: inputs_root(facts_of(rows)))
    finalize(ledger, books.spec, books.epoch, books.signature(), None, inputs)
    file = tmp_path / "epoch.zip"
    assert run("export", *EPOCH, "--output", str(file)).code == 0
    root = inputs_root(facts_of(ledger.statements.rows(books.epoch)))
    for of in (EPOCH, ("--archive", str(file))):
        ran = run("verify", *of)
        assert f"by their root {root}; by {APPROVER.address}\n" in ran.out
        assert "not signed" not in ran.out
        assert run("verify", *of, "--json").json["inputs_signed_by"] == [APPROVER.address]


def test_a_forged_statement_is_shown_for_what_it_is_and_set_aside(
    run: Run, ledger: PostgresLedger, ledger_engine: Engine, ledger_url: str
) -> None:
    books = finalized(ledger)
    [original] = ledger.statements.of(books.epoch)
    forged = forge(ledger_engine, books, original.id)
    shown = run("epoch", "show", *EPOCH)
    assert f"wrong: statement {forged} is not in force: no pinned approver signed it\n" in shown.out
    assert "mallory" not in shown.out
    assert run("epoch", "show", *EPOCH, "--json").json["faults"][0]["id"] == str(forged)
    assert run("verify", *EPOCH).code == 1
    assert run("db", "set-aside", str(forged), "--reason", " ").code == 2
    login = url_of(ledger_url, "roles_setting_aside", "secret")
    ensure_logins(ledger_url, {WRITER: login})
    away = ("db", "set-aside", str(forged), "--reason", "nobody of ours wrote it")
    assert "permission denied for table set_asides" in said(run(*away, DATABASE_URL=login))
    assert run(*away).out.startswith(f"set aside: {forged}; ")
    assert f"set aside by postgres: {forged}: nobody of ours wrote it\n" in run("epoch", "show", *EPOCH).out
    assert "verifies: what verifies stays" in said(run(*away))
    assert run("verify", *EPOCH).code == 0


def test_a_correction_is_shown_by_its_number_and_set_aside(run: Run, ledger: PostgresLedger) -> None:
    books = finalized(ledger)
    for units in (1, 2):
        books.correct("mallory", units, "because")
    number = ledger.statements.settlement(books.epoch).corrections[0].id
    assert f"mallory: put right to 0.002 units (correction:{number}): because\n" in run("epoch", "show", *EPOCH).out
    for wrong in ("correction:", "correction:x", "statement:1", "1"):
        assert run("db", "set-aside", wrong, "--reason", "nobody of ours made it").code == 2
    rows = f"correction:{number - 1}-{number}"
    printed = run("db", "set-aside", rows, "--reason", "nobody of ours made them").out
    assert printed.startswith(f"set aside: {rows}, rows of one epoch: 2; ")
    shown = run("epoch", "show", *EPOCH).out
    assert f"set aside by postgres: {rows}: nobody of ours made them\n" in shown
    assert "put right" not in shown
    assert run("verify", *EPOCH).code == 0


def test_the_owner_opens_an_epoch_again_or_gives_it_the_base_issuance_that_it_closed_without(
    run: Run, ledger: PostgresLedger, ledger_url: str
) -> None:
    reviewed(ledger, base_issuance_credits=None)
    login = url_of(ledger_url, "roles_reopening", "secret")
    ensure_logins(ledger_url, {WRITER: login})
    add = ("pool", "add", *EPOCH, "--component", "base_issuance", "--amount-credits", "70", "--evidence", "vote 7")
    assert "the owner's to add" in said(run(*add, DATABASE_URL=login))
    assert run(*add, DATABASE_URL=login, DATABASE_OWNER_URL=ledger_url).out == "added\n"
    shown = said(run("epoch", "sign-data", *EPOCH))
    assert "its base_issuance of 70 credits joined after it had closed with none" in shown
    again = ("db", "reopen", *EPOCH, "--reason")
    assert run(*again, "\u2800").code == 2
    assert "permission denied for table reopenings" in said(run(*again, "too early", DATABASE_URL=login))
    assert run(*again, "too early").out.startswith("epoch 2026-02-16 is open; ")
    assert "opened again by postgres, " in run("epoch", "show", *EPOCH).out
    [reopening] = run("epoch", "show", *EPOCH, "--json").json["reopened"]
    assert (reopening["actor"], reopening["reason"]) == ("postgres", "too early")
    assert run("epoch", "close", *EPOCH).code == 0
    assert run("epoch", "sign-data", *EPOCH, "--json").json["pool_total_credits"] == str(POOL)


def test_rows_that_are_no_signatures_of_inputs_are_named_and_set_aside_at_once(
    run: Run, ledger: PostgresLedger, ledger_engine: Engine
) -> None:
    books = finalized(ledger)
    with ledger_engine.begin() as connection:
        rows = connection.scalars(
            text("""
                INSERT INTO statement_inputs_signatures
                    (node_id, epoch_id, statement_id, signer_wallet, inputs_root, signature)
                SELECT node_id, epoch_id, id, :wallet, repeat('a', 64), '0x' || repeat(digit, 128) || '1b'
                FROM payout_statements, unnest(ARRAY['1', '2']) AS digit RETURNING id
            """),
            {"wallet": APPROVER.address},
        ).all()
    shown = run("epoch", "show", *EPOCH).out
    assert all(f"wrong: inputs signature {row_id} under statement " in shown for row_id in rows)
    assert run("db", "set-aside", *map(str, rows), "--reason", "they are none").code == 0
    assert "wrong: " not in run("epoch", "show", *EPOCH).out
    assert ledger.statements.inputs_signatures(books.epoch) == []
