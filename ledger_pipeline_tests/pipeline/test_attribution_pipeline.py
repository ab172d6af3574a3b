"""An epoch of a scope in the dialect of the system we join: what was merged into main is paid, and it verifies."""

from pathlib import Path

from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify
from ledger_pipeline_tests.builders import PRODUCER, REPO, instant, issue, pull_request, review
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.store.settlement import ADA_USER, APPROVERS, GRACE_USER, POOL, Books

NOW = instant("2026-02-18")


def test_what_was_merged_into_main_is_paid(ledger: PostgresLedger, tmp_path: Path) -> None:
    path = write_repo_spec(tmp_path, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    text = path.read_text().replace("credit_estimate_algo", "attribution_pipeline")
    path.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("scope_id")))
    books = Books(ledger, load_repo_spec(path).default_scope)
    assert books.epoch.weights_milli["github:review_submitted"] == 0
    books.append(pull_request(1), pull_request(2), review(1), review(2), issue(3)).bind()
    observed = [
        Observation(pull_request(number).id, PullRequestFacts(base_branch=base))
        for number, base in ((1, "main"), (2, "staging"))
    ]
    ledger.facts.record(books.scope.scope_id, observed, NOW, PRODUCER)
    books.materialize()
    books.close()
    statement = books.finalize(books.signature())
    assert [(line["userId"], line["totalUnits"]) for line in statement.payouts] == [
        (ADA_USER, "1000"),
        (GRACE_USER, "0"),
    ]
    assert verify(facts_of(ledger.statements.rows(books.epoch))) == []
    reasons = {event_id: decision.reason for event_id, decision in ledger.selection.decisions([books.epoch]).items()}
    assert reasons[pull_request(2).id] == "not_into_main"
