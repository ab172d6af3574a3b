"""From a signed statement to files that anybody can check: the commands `wallets` and `distribution`."""

import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.distributing import ADA_KEY, ADAS, GRACE_KEY, GRACES, TOKEN, WHOLE
from ledger_pipeline_tests.store.settlement import APPROVER, APPROVERS, STRANGER, Wallet, finalized

Run = Callable[..., Ran]
EPOCH = "2026-02-16"


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path, ledger: PostgresLedger) -> Run:
    """Commands on a ledger with a signed statement of EPOCH."""
    finalized(ledger)
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS)
    given = {"DATABASE_URL": ledger_url, "DATABASE_OWNER_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    return lambda *arguments: command(*arguments, **given)


@pytest.fixture
def build(run: Run) -> Callable[..., Ran]:
    token = ("--token", TOKEN.address, "--chain-id", str(TOKEN.chain_id))
    return lambda *more: run("distribution", "build", "--epoch", EPOCH, *token, *more)


def signed_for(run: Run, *arguments: str) -> str:
    """What the same command says once an approver signed what it printed."""
    asked = run("wallets", *arguments)
    assert asked.code == 0, asked.err
    taken = run("wallets", *arguments, "--approver-signature", APPROVER.sign(asked.out))
    assert taken.code == 0, taken.err
    return taken.out


def refusal(ran: Ran) -> str:
    assert ran.code == 1, ran.out
    [line] = ran.err.splitlines()
    return line


def give_ada_hers(run: Run) -> str:
    return signed_for(run, "set", "--claimant", ADA_KEY, "--wallet", ADAS, "--reason", "she said so")


def test_an_approver_signs_for_a_wallet_or_a_list_of_them_and_nobody_else_does(run: Run, tmp_path: Path) -> None:
    asked = run("wallets", "set", "--claimant", ADA_KEY, "--wallet", ADAS, "--reason", "she said so")
    assert asked.out.splitlines()[0] == "Ledger Pipeline Payout Wallets v1"
    assert asked.out.splitlines()[2:] == ["Number: 1", "Reason: she said so", f"{ADA_KEY}: {ADAS}"]
    given = ("wallets", "set", "--claimant", ADA_KEY, "--wallet", ADAS, "--reason", "she said so")
    assert "no approver of default" in refusal(run(*given, "--approver-signature", STRANGER.sign(asked.out)))
    assert give_ada_hers(run) == f"taken as list 1: 1 wallet, signed by approver {APPROVER.address}\n"
    # The same signature is good for no further list.
    assert "of list 2" in refusal(run(*given, "--approver-signature", APPROVER.sign(asked.out)))
    file = tmp_path / "wallets.csv"
    file.write_text(f"claimant,wallet\n{ADA_KEY},{ADAS}\n{GRACE_KEY},{GRACES}\n")
    assert signed_for(run, "import", str(file), "--reason", "the form").startswith("taken as list 2: 2 wallets")
    lists = run("wallets", "list", "--json").json
    assert [(row["number"], row["reason"], row["wallets"]) for row in lists] == [
        (1, "she said so", {ADA_KEY: ADAS}),
        (2, "the form", {ADA_KEY: ADAS, GRACE_KEY: GRACES}),
    ]
    assert "3 wallets" in run("wallets", "list").out


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("claimant\nuser:ada\n", "row 1: {'claimant': 'user:ada'} is no wallet: claimant and wallet"),
        ("claimant,wallet\nuser:ada,\n", "row 1: claimant or wallet is missing"),
        (f"claimant,wallet\nada,{ADAS}\n", "'ada' names no claimant"),
        (f"claimant,wallet\nuser:ada,{ADAS}\nuser:ada,{GRACES}\n", "row 2: user:ada has another wallet further up"),
    ],
)
def test_a_file_of_wallets_that_is_none_is_refused_by_its_row(
    run: Run, tmp_path: Path, content: str, problem: str
) -> None:
    file = tmp_path / "wallets.csv"
    file.write_text(content)
    assert problem in refusal(run("wallets", "import", str(file), "--reason", "the form"))


def test_a_statement_becomes_files_that_verify_offline(
    run: Run, build: Callable[..., Ran], command: Command, tmp_path: Path
) -> None:
    give_ada_hers(run)
    printed = build("--amount", str(WHOLE))
    assert "of 10,000 credits of the statement, 8,000 are distributed by now and 2,000 held back" in printed.out
    assert "distribution-1: 800" in printed.out
    made = build("--json").json
    assert not made["is_new"]
    assert [row["claimantKey"] for row in made["held_back"]] == [GRACE_KEY]
    amounts = [int(made["manifest"]["distributionAmount"]), int(made["held_back_amount"])]
    assert sum(amounts) == WHOLE
    assert int(made["statement_credits"]) == int(made["distributed_credits"]) + int(made["held_back_credits"])
    shown = run("distribution", "show", "1", "--json").json
    assert shown == {**made, "signed_by": [], "is_set_aside": False}
    folder = tmp_path / "out"
    assert run("distribution", "export", "1", "--output", str(folder), "--decimals", "18").code == 0
    assert json.loads((folder / "manifest.json").read_text()) == made["manifest"]
    assert (folder / "airdrop.csv").read_text() == (
        f"token_type,token_address,receiver,amount\nerc20,{TOKEN.address},{ADAS},800.000000000000000006\n"
    )
    [proof] = (folder / "proofs").iterdir()
    assert proof.name == "000000-user_user-ada.json"
    # With no settings at all.
    holds = command("distribution", "verify-proof", str(proof), "--root", made["manifest"]["merkleRoot"])
    assert holds.out.startswith(f"it holds: {ADAS} may claim 800000000000000000006 of token")
    assert "its root is 0x" in refusal(command("distribution", "verify-proof", str(proof), "--root", f"0x{'1' * 64}"))
    content: dict[str, Any] = json.loads(proof.read_text())
    proof.write_text(json.dumps({**content, "amount": str(WHOLE)}))
    assert "leafHash: of index 0" in refusal(command("distribution", "verify-proof", str(proof)))
    proof.write_text("[")
    assert "cannot read" in refusal(command("distribution", "verify-proof", str(proof)))
    proof.write_text("[" * 50_000)
    assert "it nests deeper than 64 levels" in refusal(command("distribution", "verify-proof", str(proof)))
    assert "is there already" in refusal(run("distribution", "export", "1", "--output", str(folder)))


def test_who_was_held_back_is_paid_later_and_what_nobody_pays_is_set_aside(run: Run, build: Callable[..., Ran]) -> None:
    assert "has a wallet" in refusal(build("--amount", "10"))
    give_ada_hers(run)
    assert "give --amount" in refusal(build())
    assert build("--amount", "10").code == 0
    signed_for(run, "set", "--claimant", GRACE_KEY, "--wallet", GRACES, "--reason", "and she")
    assert [leaf["amount"] for leaf in build("--json").json["manifest"]["leaves"]] == ["2"]
    listed = run("distribution", "list", "--json").json
    assert [(row["number"], row["amount"], row["is_set_aside"]) for row in listed] == [(1, "8", False), (2, "2", False)]
    assert run("distribution", "set-aside", "2", "--reason", "no contract has it").out == "set aside\n"
    assert "so nobody pays it: no contract has it" in run("distribution", "show", "2").out
    assert "yes" in run("distribution", "list").out
    assert "was set aside" in refusal(run("distribution", "export", "2", "--output", "nowhere"))
    again = build("--json").json
    assert (again["number"], again["is_new"]) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [("--amount", "1.5"), ("--amount", "-1"), ("--amount", str(2**256)), ("--amount", "0")],
)
def test_an_amount_that_is_none_is_refused(run: Run, build: Callable[..., Ran], arguments: tuple[str, ...]) -> None:
    give_ada_hers(run)
    assert build(*arguments).code == 1
    assert run("distribution", "list", "--json").json == []


def test_an_amount_is_written_in_whole_tokens_exactly() -> None:
    from ledger_pipeline.cli.distribution_files import _in_tokens

    for decimals in (0, 1, 6, 18):
        for amount in (0, 1, 10**6, 10**18, 10**18 + 1, 123_456_789 * 10**12):
            text = _in_tokens(amount, decimals)
            whole, _, fraction = text.partition(".")
            assert int(whole) * 10**decimals + int(fraction.ljust(decimals, "0") or "0") == amount
            assert not text.endswith((".", ".0"))


@pytest.fixture
def exported(run: Run, build: Callable[..., Ran], tmp_path: Path) -> Path:
    """A distribution's files, which the approver signed."""
    give_ada_hers(run)
    assert build("--amount", str(WHOLE)).code == 0
    printed = run("distribution", "sign-data", "1")
    assert printed.code == 0, printed.err
    for wallet, code in ((STRANGER, 1), (APPROVER, 0)):
        signature = signature_of(printed.out, wallet)
        assert run("distribution", "sign", "1", "--signature", signature).code == code
    assert run("distribution", "sign", "1", "--signature", signature).out == "it was there already\n"
    assert run("distribution", "show", "1", "--json").json["signed_by"] == [APPROVER.address]
    assert f"signed by {APPROVER.address}" in run("distribution", "show", "1").out
    folder = tmp_path / "out"
    assert run("distribution", "export", "1", "--output", str(folder)).code == 0
    return folder


def signature_of(typed_data: str, wallet: Wallet) -> str:
    """As a wallet signs what was printed, which knows nothing of ours."""
    limit = sys.getrecursionlimit()
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    sys.setrecursionlimit(limit)  # importing it raises that of the process
    encoded = encode_typed_data(full_message=json.loads(typed_data))
    key = sha256(wallet.name.encode()).digest()
    return f"0x{Account.from_key(key).sign_message(encoded).signature.hex().removeprefix('0x')}"


def test_root_and_manifest_are_signed_and_verified_offline(exported: Path, command: Command) -> None:
    holds = command("distribution", "verify", str(exported), "--approvers", APPROVER.address.lower())
    assert holds.code == 0, holds.err
    assert holds.out.startswith("it holds: 1 claimant, 800000000000000000006 together, root 0x")
    assert holds.out.endswith(f"signed by {APPROVER.address}\n")
    assert "none of" in refusal(command("distribution", "verify", str(exported), "--approvers", STRANGER.address))
    (exported / "signatures.json").write_text('{"signatures": []}')
    assert command("distribution", "verify", str(exported)).out.endswith("signed by nobody\n")
    (exported / "signatures.json").write_text('{"signatures": [7]}')
    assert "no list of signer and signature" in refusal(command("distribution", "verify", str(exported)))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"merkleRoot": f"0x{'1' * 64}"}, "merkleRoot is 0x"),
        ({"totalAllocated": "5"}, "totalAllocated is 800000000000000000006, not 5"),
        ({"distributionAmount": "7"}, "totalAllocated is 7, not 800000000000000000006"),
        ({"kind": "mine"}, "kind is cogni.dao_ownership_token_distribution.v0, not mine"),
        ({"leaves": 7}, "the file is no manifest: TypeError"),
        ({"nodeId": "x"}, "the file is no manifest: ValueError"),
        ({"distributionAmount": "1e3"}, "distributionAmount: '1e3' is no whole number"),
        ({"extra": 1}, "it is spelled otherwise than we write it"),
    ],
)
def test_a_manifest_that_does_not_follow_is_named(
    exported: Path, command: Command, change: dict[str, object], problem: str
) -> None:
    content = json.loads((exported / "manifest.json").read_text())
    (exported / "manifest.json").write_text(json.dumps({**content, **change}, separators=(",", ":")))
    assert problem in refusal(command("distribution", "verify", str(exported)))


def test_a_manifest_that_nests_without_end_is_none(exported: Path, command: Command) -> None:
    (exported / "manifest.json").write_text("[" * 50_000)
    problem = "the file is no manifest: ValueError it nests deeper than 64 levels"
    assert problem in refusal(command("distribution", "verify", str(exported)))
