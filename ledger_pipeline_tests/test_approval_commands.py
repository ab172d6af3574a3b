"""What commands and pages say of an epoch that several approvers sign."""

from pathlib import Path

import pytest

from ledger_pipeline.core.signing import Scheme
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import (
    ADA_USER,
    APPROVER,
    APPROVERS,
    POOL,
    SECOND_APPROVER,
    THIRD_APPROVER,
    reviewed,
)
from ledger_pipeline_tests.test_settlement_commands import EPOCH, Run

THREE = (*APPROVERS, THIRD_APPROVER.address)


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path) -> Run:
    """A command on the test's ledger; two of three approvers sign."""
    spec = write_repo_spec(tmp_path, REPO, approvers=THREE, base_issuance_credits=POOL, approval_threshold=2)
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    return lambda *arguments, **variables: command(*arguments, **{**given, **variables})


def test_how_many_have_signed_is_said_wherever_an_epoch_is_looked_at(
    run: Run, ledger: PostgresLedger, tmp_path: Path
) -> None:
    books = reviewed(ledger, approvers=THREE, approval_threshold=2, chain_id=84532)
    typed = books.draft().forms[Scheme.TYPED_DATA]
    finalize = ("epoch", "finalize", *EPOCH, "--direct", "--signature")
    assert "review, signed 0 of 2" in run("epoch", "list").out
    first = run(*finalize, APPROVER.sign(typed))
    assert first.out.startswith("signed 1 of 2\nthe signature is kept: ")
    again = run(*finalize, APPROVER.sign(typed), "--json").json
    assert (again["outcome"], again["statement_id"], again["signed"], again["threshold"]) == ("unchanged", None, 1, 2)

    assert "review, signed 1 of 2" in run("epoch", "list").out
    assert run("epoch", "list", "--json").json[0]["approvals"] == {"signed": 1, "threshold": 2}
    shown = run("epoch", "show", *EPOCH).out
    assert "state: signed 1 of 2, ready to sign\n" in shown
    assert f"{APPROVER.address} signed a pool of {POOL} and the allocations " in shown
    approvals = run("epoch", "show", *EPOCH, "--json").json["approvals"]
    assert [row["signer"] for row in approvals["collected"]] == [APPROVER.address]
    assert "signed 1 of 2\n" in run("epoch", "sign-data", *EPOCH).err
    page = tmp_path / "page.html"
    assert run("report", *EPOCH, "--output", str(page)).code == 0
    assert "signed 1 of 2, ready to sign" in page.read_text()
    assert APPROVER.address in page.read_text()
    assert run("verify", *EPOCH).code == 1

    run("allocations", "set", *EPOCH, "--user", ADA_USER, "--units-milli", "900", "--reason", "counted again")
    assert "state: signed 0 of 2, ready to sign\n" in run("epoch", "show", *EPOCH).out
    assert "stale, for the numbers are others now; it counts for nothing\n" in run("epoch", "show", *EPOCH).out
    typed = books.draft().forms[Scheme.TYPED_DATA]
    run(*finalize, SECOND_APPROVER.sign(typed))
    last = run(*finalize, THIRD_APPROVER.sign(typed))
    assert "\nsigned 2 of 2\nwritten, with its signature\n" in last.out
    assert "signed" not in run("epoch", "list").out
    verified = run("verify", *EPOCH)
    assert (verified.code, "in force by 2 of them\n" in verified.out) == (0, True)
    file = tmp_path / "epoch.zip"
    assert run("export", *EPOCH, "--output", str(file)).code == 0
    assert run("verify", "--archive", str(file), "--json").json["approval_threshold"] == 2

    run("epoch", "amend", *EPOCH, "--user", ADA_USER, "--units-milli", "800", "--reason", "counted once more")
    run(*finalize, APPROVER.sign(books.draft().forms[Scheme.TYPED_DATA]))
    assert "finalized, signed 1 of 2" in run("epoch", "list").out
    assert "state: signed 1 of 2, ready to sign: an amendment\n" in run("epoch", "show", *EPOCH).out
    assert run("verify", *EPOCH).code == 0
