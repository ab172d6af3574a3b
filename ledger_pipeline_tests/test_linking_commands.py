"""An account is linked by a message that its wallet signed once an approver, or an operator with a reason, vouches."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger_pipeline.core.linking import read_link_message
from ledger_pipeline.store.link_records import RestsOn
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import REPO
from ledger_pipeline_tests.command_line import Command, Ran
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import APPROVER, APPROVERS, STRANGER, Wallet

Run = Callable[..., Ran]
ADAS_WALLET = STRANGER


@pytest.fixture
def run(command: Command, ledger_url: str, tmp_path: Path) -> Run:
    spec = write_repo_spec(tmp_path, REPO, approvers=APPROVERS)
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    return lambda *arguments: command(*arguments, **given)


@pytest.fixture
def challenge(run: Run, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """A message, and the file that it is in."""

    def make(wallet: str = ADAS_WALLET.address, user: str = "ada") -> tuple[str, str]:
        named = ("--account", "7", "--login", "ada-l", "--user", user, "--wallet", wallet)
        ran = run("identities", "challenge", *named)
        assert ran.code == 0, ran.err
        file = tmp_path / "message.txt"
        file.write_text(ran.out)
        return ran.out.removesuffix("\n"), str(file)

    return make


def refusal(ran: Ran) -> str:
    assert ran.code == 1, ran.out
    [line] = ran.err.splitlines()
    return line


def test_an_approver_vouches_by_signing_the_same_message(
    run: Run, challenge: Callable[..., tuple[str, str]], ledger: PostgresLedger
) -> None:
    text, file = challenge()
    given = ("identities", "vouch", "--message", file, "--signature", ADAS_WALLET.sign(text))
    vouched = (*given, "--approver-signature", APPROVER.sign(text))
    assert run(*vouched).out == "github 7 is ada\n"
    [link] = ledger.identities.history("github", "7")
    assert link.evidence.signed is not None
    assert (link.evidence.rests_on, link.evidence.approver) == (RestsOn.APPROVER, APPROVER.address)
    assert (link.evidence.signed.message, link.evidence.signed.wallet) == (text, ADAS_WALLET.address)
    assert link.evidence.signed.nonce == read_link_message(text).nonce
    assert "was used: a message links once" in refusal(run(*vouched))


def test_an_operator_vouches_with_a_reason_and_nobody_with_neither_or_both(
    run: Run, challenge: Callable[..., tuple[str, str]], ledger: PostgresLedger
) -> None:
    text, file = challenge()
    given = ("identities", "vouch", "--message", file, "--signature", ADAS_WALLET.sign(text))
    for reasons in ((), ("--reason", " "), ("--reason", "x", "--approver-signature", APPROVER.sign(text))):
        assert run(*given, *reasons).code == 2
    assert run(*given, "--reason", "she said so in the call").out == "github 7 is ada\n"
    [row] = run("identities", "list", "--json").json
    assert (row["rests_on"], row["reason"], row["wallet"]) == (
        *("operator", "she said so in the call"),
        ADAS_WALLET.address,
    )


@pytest.mark.parametrize(
    ("wallets", "approver", "problem"),
    [
        (APPROVER, APPROVER, "recovers to"),
        (ADAS_WALLET, STRANGER, "no approver of"),
    ],
    ids=["another wallet's signature", "a stranger vouches"],
)
def test_what_another_signed_links_nothing(
    run: Run,
    challenge: Callable[..., tuple[str, str]],
    ledger: PostgresLedger,
    wallets: Wallet,
    approver: Wallet,
    problem: str,
) -> None:
    text, file = challenge()
    signatures = ("--signature", wallets.sign(text), "--approver-signature", approver.sign(text))
    assert problem in refusal(run("identities", "vouch", "--message", file, *signatures))
    assert ledger.identities.bindings() == []


def test_an_approver_does_not_vouch_for_their_own_wallet(
    run: Run, challenge: Callable[..., tuple[str, str]], ledger: PostgresLedger
) -> None:
    text, file = challenge(APPROVER.address)
    signatures = ("--signature", APPROVER.sign(text), "--approver-signature", APPROVER.sign(text))
    assert "vouches for their own wallet" in refusal(run("identities", "vouch", "--message", file, *signatures))
    assert ledger.identities.bindings() == []


def test_a_message_that_was_changed_after_it_was_signed_links_nothing(
    run: Run, challenge: Callable[..., tuple[str, str]], ledger: PostgresLedger
) -> None:
    text, file = challenge()
    signatures = ("--signature", ADAS_WALLET.sign(text), "--approver-signature", APPROVER.sign(text))
    Path(file).write_text(text.replace("User: ada", "User: eve"))
    assert "sign the message to the byte" in refusal(run("identities", "vouch", "--message", file, *signatures))
    Path(file).write_text("hello")
    assert "does not begin with the line" in refusal(run("identities", "vouch", "--message", file, *signatures))
    assert ledger.identities.bindings() == []


DEMO_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
DEMO_ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


def signed_by_everybody(text: str) -> str:
    """By the key of every development node's second account."""
    from eth_account import Account
    from eth_account.messages import encode_defunct

    return f"0x{Account.sign_message(encode_defunct(text=text), DEMO_KEY).signature.hex().removeprefix('0x')}"


def test_a_wallet_whose_key_everybody_has_links_nothing_whatever_the_message_says(
    run: Run, challenge: Callable[..., tuple[str, str]], ledger: PostgresLedger
) -> None:
    for wallet, problem in ((DEMO_ADDRESS, "everybody has the key of"), (ADAS_WALLET.address, "it recovers to")):
        text, file = challenge(wallet)
        signatures = ("--signature", signed_by_everybody(text), "--approver-signature", APPROVER.sign(text))
        assert problem in refusal(run("identities", "vouch", "--message", file, *signatures))
        reason = ("--signature", signed_by_everybody(text), "--reason", "she said so")
        assert problem in refusal(run("identities", "vouch", "--message", file, *reason))
    text, file = challenge()
    signatures = ("--signature", ADAS_WALLET.sign(text), "--approver-signature", signed_by_everybody(text))
    assert "no approver of" in refusal(run("identities", "vouch", "--message", file, *signatures))
    assert ledger.identities.bindings() == []


def test_an_approver_whose_key_everybody_has_vouches_for_nobody(
    command: Command, ledger: PostgresLedger, ledger_url: str, tmp_path: Path
) -> None:
    spec = write_repo_spec(tmp_path, REPO, approvers=(DEMO_ADDRESS,))
    given = {"DATABASE_URL": ledger_url, "LEDGER_REPO_SPEC": str(spec)}
    named = ("--account", "7", "--login", "ada-l", "--user", "ada", "--wallet", ADAS_WALLET.address)
    text = command("identities", "challenge", *named, **given).out
    file = tmp_path / "message.txt"
    file.write_text(text)
    signatures = ("--signature", ADAS_WALLET.sign(text), "--approver-signature", signed_by_everybody(text))
    ran = command("identities", "vouch", "--message", str(file), *signatures, **given)
    assert f"everybody has the key of {DEMO_ADDRESS}" in refusal(ran)
    assert ledger.identities.bindings() == []
