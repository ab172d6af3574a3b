"""A key that everybody has closes nothing and signs nothing, but in a simulated stack."""

from dataclasses import replace
from pathlib import Path

import pytest

from ledger_pipeline.core.errors import ConfigurationError, SignerNotApproved
from ledger_pipeline.core.sources import PULL_REQUESTS
from ledger_pipeline.doctor.configuration import check_repo_spec
from ledger_pipeline.doctor.findings import State
from ledger_pipeline.pipeline.completeness import Completeness, StreamReach
from ledger_pipeline.pipeline.epochs import close, close_due_epochs
from ledger_pipeline.pipeline.next_step import next_steps
from ledger_pipeline.settings import SIMULATED_CLOCK, Settings
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline_tests.builders import NODE_ID, REPO
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import APPROVER, collected

PUBLIC = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


def sign(message: str) -> str:
    from eth_account import Account
    from eth_account.messages import encode_defunct

    signed = Account.from_key(KEY).sign_message(encode_defunct(text=message))
    return f"0x{signed.signature.hex().removeprefix('0x')}"


def test_no_epoch_closes_with_such_an_approver(ledger: PostgresLedger) -> None:
    books = collected(ledger, approvers=(PUBLIC, APPROVER.address))
    with pytest.raises(ConfigurationError, match=f"is not closed: everybody has the key of {PUBLIC}"):
        close(ledger, books.scope, books.epoch)
    assert close_due_epochs(ledger, books.scope) == []
    read = Completeness(books.of, (StreamReach(REPO, PULL_REQUESTS, books.of.end),))
    steps = next_steps(
        NODE_ID, books.scope, books.epoch, lambda: ledger.statements.settlement(books.epoch), read, books.of.end
    )
    assert steps[0].startswith(f"everybody has the key of {PUBLIC}, an account of every development node")
    assert books.epoch.status is EpochStatus.OPEN
    assert close(ledger, replace(books.scope, is_simulated=True), books.epoch)


def test_it_signs_for_no_money(ledger: PostgresLedger) -> None:
    simulated = collected(ledger, approvers=(PUBLIC,)).with_scope(is_simulated=True)
    simulated.materialize()
    signature = sign(simulated.close().draft().message)
    # As an earlier release closed it.
    with pytest.raises(SignerNotApproved, match=f"everybody has the key of {PUBLIC}, .*: it signs for no money"):
        simulated.with_scope(is_simulated=False).finalize(signature)
    assert simulated.finalize(signature).payouts


def test_the_stack_is_simulated_where_it_asks_a_simulator_or_its_ledger_is_the_demos(tmp_path: Path) -> None:
    spec = write_repo_spec(tmp_path, REPO, approvers=(PUBLIC,), base_issuance_credits=1)
    given = {"ledger_repo_spec": spec, "ledger_home": tmp_path / "home"}
    real = Settings(**given)
    asking = Settings(**given, github_api_url="http://127.0.0.1:8744", github_clock_tolerance_seconds=ANY_CLOCK_SECONDS)
    assert [settings.is_simulated for settings in (real, asking)] == [False, True]
    assert [settings.repo_spec().default_scope.is_simulated for settings in (real, asking)] == [False, True]
    finding, _ = check_repo_spec(real)
    assert (finding.state, PUBLIC in finding.detail) == (State.FAILED, True)
    assert check_repo_spec(asking)[0].state is State.OK
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / SIMULATED_CLOCK).touch()
    assert real.is_simulated
    assert not Settings(**given, database_url="postgresql://books/ledger").is_simulated
