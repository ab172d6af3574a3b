"""The views that answer queries of the system we join, by its names and columns; for readers alone."""

from dataclasses import asdict
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, text

from ledger_pipeline.core.facts import Observation, PullRequestFacts, ReviewFacts
from ledger_pipeline.core.selection.policy import Decision
from ledger_pipeline.core.selection.reasons import Reason
from ledger_pipeline.pipeline.allocate import allocate
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.roles import READER, WRITER, ensure_logins
from ledger_pipeline.store.settlement_records import Judgement
from ledger_pipeline_tests.builders import (
    ADA,
    GRACE,
    NODE_ID,
    OTHER_SCOPE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    cursor,
    instant,
    issue,
    pull_request,
    review,
)
from ledger_pipeline_tests.store.settlement import ADA_USER, GRACE_USER, collected, finalized, refused, reviewed
from ledger_pipeline_tests.store.test_roles import urls

NOW = instant("2026-02-18")
SHA, COMMITS = "a" * 40, ("b" * 40, "c" * 40)
COLUMNS = {
    "ingestion_receipts": "node_id receipt_id source event_type platform_user_id platform_login artifact_url metadata "
    "payload_hash producer producer_version event_time retrieved_at ingested_at",
    "epoch_selection": "id node_id epoch_id receipt_id user_id included weight_override_milli note created_at "
    "updated_at",
    "epoch_receipt_claimants": "id node_id epoch_id receipt_id status resolver_ref algo_ref inputs_hash claimants_json "
    "created_at created_by",
    "epoch_statements": "id node_id epoch_id final_allocation_set_hash pool_total_credits statement_lines_json "
    "review_overrides_json supersedes_statement_id created_at",
    "ingestion_cursors": "node_id scope_id source stream source_ref cursor_value retrieved_at",
}
# As that system counts units, with the weights that it pinned in the epoch.
UNITS = """
    SELECT selection.user_id, sum(COALESCE(
        selection.weight_override_milli,
        CAST(epoch.weight_config ->> concat(receipt.source, ':', receipt.event_type) AS bigint), 0
    )) AS units
    FROM epoch_selection AS selection
    JOIN epochs AS epoch ON epoch.id = selection.epoch_id
    JOIN ingestion_receipts AS receipt
        ON receipt.node_id = selection.node_id AND receipt.receipt_id = selection.receipt_id
    WHERE selection.included AND selection.user_id IS NOT NULL
    GROUP BY 1
"""


def rows(engine: Engine, query: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(text(query))]


def metadata_of(engine: Engine) -> dict[str, dict[str, Any]]:
    """By the type of event, what its receipt says."""
    return {row["event_type"]: row["metadata"] for row in rows(engine, "SELECT * FROM ingestion_receipts")}


def test_the_views_have_the_columns_of_that_system(ledger_engine: Engine) -> None:
    there: dict[str, list[str]] = {}
    query = """
        SELECT table_name, column_name FROM information_schema.columns JOIN pg_views ON viewname = table_name
        WHERE schemaname = 'public' ORDER BY table_name, ordinal_position
    """
    for row in rows(ledger_engine, query):
        there.setdefault(row["table_name"], []).append(row["column_name"])
    assert there == {view: columns.split() for view, columns in COLUMNS.items()}


def test_the_views_are_for_readers_who_only_read_them(ledger: PostgresLedger, ledger_url: str) -> None:
    finalized(ledger)
    ensure_logins(ledger_url, urls(ledger_url))
    reader, writer = (make_engine(urls(ledger_url)[role]) for role in (READER, WRITER))
    rights = """
        SELECT role, viewname AS view, privilege FROM pg_views, unnest(ARRAY['ledger_writer', 'ledger_reader']) AS role,
            unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) AS privilege
        WHERE schemaname = 'public' AND has_table_privilege(role, format('public.%I', viewname), privilege)
    """
    assert {tuple(row.values()) for row in rows(reader, rights)} == {(READER, view, "SELECT") for view in COLUMNS}
    for view in COLUMNS:
        assert rows(reader, f"SELECT * FROM {view}")
        for engine, statement in ((reader, "DELETE FROM"), (writer, "DELETE FROM"), (writer, "SELECT * FROM")):
            assert refused(engine, f"{statement} {view}") in {
                f"permission denied for view {view}",
                f'cannot delete from view "{view}"',
            }
    for engine in (reader, writer):
        engine.dispose()


def test_a_receipt_says_what_is_known_and_null_for_the_rest(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.events.append(SCOPE_ID, [pull_request(1, baseRefName="dev"), review(1), issue(1)], PRODUCER, NOW)
    unknown = dict.fromkeys(
        ["body", "branch", "mergeCommitSha", "commitShas", "labels", "additions", "deletions", "changedFiles"]
    )
    assert metadata_of(ledger_engine) == {
        "pr_merged": {"title": "Change 1", "baseBranch": "dev", "repo": REPO, **unknown},
        "review_submitted": {
            "prNumber": 1,
            "prBaseBranch": None,
            "prMergeCommitSha": None,
            "state": "APPROVED",
            "repo": REPO,
        },
        "issue_closed": {"title": "Problem 1", "repo": REPO},
    }
    facts = PullRequestFacts(
        base_branch="main", head_branch="fix", merge_commit_sha=SHA, commit_shas=COMMITS, labels=("bug",)
    )
    observed = [Observation(pull_request(1).id, facts), Observation(review(1).id, ReviewFacts(base_branch="old"))]
    ledger.facts.record(SCOPE_ID, observed, NOW, PRODUCER)
    metadata = metadata_of(ledger_engine)
    assert metadata["pr_merged"] == {
        **unknown,
        "title": "Change 1",
        "repo": REPO,
        "baseBranch": "main",
        "branch": "fix",
        "mergeCommitSha": SHA,
        "commitShas": list(COMMITS),
        "labels": ["bug"],
    }
    assert (metadata["review_submitted"]["prBaseBranch"], metadata["review_submitted"]["prMergeCommitSha"]) == (
        "main",
        SHA,
    )
    [row] = rows(ledger_engine, "SELECT * FROM ingestion_receipts WHERE event_type = 'issue_closed'")
    contract_row = {key: value for key, value in asdict(issue(1)).items() if key in row and key != "metadata"}
    assert contract_row.items() <= row.items()
    assert (row["receipt_id"], row["node_id"], row["producer"]) == (issue(1).id, NODE_ID, PRODUCER.name)


def test_the_receipts_of_a_closed_epoch_say_what_was_pinned(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger, pull_request(1))
    ledger.facts.record(
        SCOPE_ID, [Observation(pull_request(1).id, PullRequestFacts(base_branch="main"))], NOW, PRODUCER
    )
    books.materialize()
    books.close()
    later = [Observation(pull_request(1).id, PullRequestFacts(base_branch="renamed"))]
    assert ledger.facts.record(SCOPE_ID, later, instant("2026-02-25"), PRODUCER)
    assert metadata_of(ledger_engine)["pr_merged"]["baseBranch"] == "main"


def test_an_event_of_two_scopes_is_one_receipt(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    for scope_id in (OTHER_SCOPE_ID, SCOPE_ID):
        ledger.events.append(scope_id, [pull_request(1), review(1)], PRODUCER, NOW)
    receipts = rows(ledger_engine, "SELECT receipt_id, ingested_at FROM ingestion_receipts ORDER BY 1")
    assert [row["receipt_id"] for row in receipts] == [pull_request(1).id, review(1).id]
    first = rows(ledger_engine, "SELECT min(ingested_at) AS at FROM activity_events")[0]["at"]
    assert {row["ingested_at"] for row in receipts} == {first}


def test_units_by_the_views_are_the_epochs_own(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    events = [*(pull_request(number) for number in range(1, 7)), review(1), review(2), issue(9, author=ADA)]
    books = collected(ledger, *events)
    books.materialize()
    decisions = {event.id: Decision(included=True, reason=Reason.INCLUDED) for event in events} | {
        pull_request(2).id: Decision(included=False, reason=Reason.NOT_INTO_MAIN),
        pull_request(3).id: Decision(included=True, reason=Reason.INCLUDED, weight_factor_milli=333),
        pull_request(4).id: Decision(included=False, reason=Reason.NOT_INTO_MAIN),
        review(2).id: Decision(included=True, reason=Reason.INCLUDED, weight_factor_milli=0),
    }
    ledger.selection.replace(books.epoch, decisions)
    ledger.curation.judge(books.epoch, pull_request(4).id, Judgement("counts after all", included=True))
    ledger.curation.judge(books.epoch, pull_request(5).id, Judgement("twice", weight_override_milli=2000))
    ledger.curation.judge(books.epoch, pull_request(6).id, Judgement("a copy", included=False))
    proposed = {row.user_id: row.proposed_units for row in allocate(ledger, books.scope, books.epoch)}
    assert {row["user_id"]: row["units"] for row in rows(ledger_engine, UNITS)} == proposed
    assert sum(proposed.values()) == 1000 + 333 + 1000 + 2000 + 300 + 500
    selection = {row["receipt_id"]: row for row in rows(ledger_engine, "SELECT * FROM epoch_selection")}
    assert {event_id: row["note"] for event_id, row in selection.items() if row["note"]} == {
        pull_request(2).id: "not_into_main",
        pull_request(4).id: "counts after all",
        pull_request(5).id: "twice",
        pull_request(6).id: "a copy",
    }


def test_every_curated_receipt_has_its_author_as_claimant(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = collected(ledger, pull_request(1), review(1), users={ADA.user_id: ADA_USER})
    books.materialize()
    query = "SELECT * FROM epoch_receipt_claimants ORDER BY receipt_id"
    drafts = rows(ledger_engine, query)
    assert [(row["receipt_id"], row["claimants_json"], row["status"]) for row in drafts] == [
        (pull_request(1).id, [f"user:{ADA_USER}"], "draft"),
        (review(1).id, [f"identity:github:{GRACE.user_id}"], "draft"),
    ]
    hashed = f"{pull_request(1).id}\nuser:{ADA_USER}\n"
    assert drafts[0]["inputs_hash"] == sha256(hashed.encode()).hexdigest()
    books.close()
    assert {row["status"] for row in rows(ledger_engine, query)} == {"locked"}


def test_the_statement_in_force_has_its_lines_by_claimant(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    books = finalized(ledger)
    [first] = rows(ledger_engine, "SELECT * FROM epoch_statements")
    assert first["statement_lines_json"] == [
        {
            "claimant_key": f"user:{ADA_USER}",
            "claimant": {"kind": "user", "userId": ADA_USER},
            "final_units": "2000",
            "pool_share": "0.800000",
            "credit_amount": "8000",
            "receipt_ids": [pull_request(1).id, pull_request(2).id],
        },
        {
            "claimant_key": f"user:{GRACE_USER}",
            "claimant": {"kind": "user", "userId": GRACE_USER},
            "final_units": "500",
            "pool_share": "0.200000",
            "credit_amount": "2000",
            "receipt_ids": [review(1).id],
        },
    ]
    amended = books.amend(GRACE_USER, 2000)
    [second] = rows(ledger_engine, "SELECT * FROM epoch_statements")
    assert (second["id"], second["supersedes_statement_id"]) == (amended.id, first["id"])
    assert second["final_allocation_set_hash"] == amended.allocation_set_hash
    assert [line["credit_amount"] for line in second["statement_lines_json"]] == ["5000", "5000"]
    with ledger_engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO set_asides (node_id, epoch_id, statement_id, reason) VALUES (:node, :epoch, :id, 'forged')"
            ),
            {"node": NODE_ID, "epoch": books.epoch.id, "id": amended.id},
        )
    assert [row["id"] for row in rows(ledger_engine, "SELECT id FROM epoch_statements")] == [first["id"]]


def test_an_account_that_nobody_linked_is_named_in_its_line(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    finalized(ledger)
    account = f"identity:github:{GRACE.user_id}"
    with ledger_engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(f"UPDATE activity_curation SET user_id = NULL WHERE user_id = '{GRACE_USER}'")
        renamed = f"replace(payouts_json::text, '{GRACE_USER}', '{account}')"
        connection.exec_driver_sql(f"UPDATE payout_statements SET payouts_json = {renamed}::jsonb")
    [statement] = rows(ledger_engine, "SELECT * FROM epoch_statements")
    line = statement["statement_lines_json"][0]
    assert (line["claimant_key"], line["receipt_ids"]) == (account, [review(1).id])
    assert line["claimant"] == {
        "kind": "identity",
        "provider": "github",
        "externalId": str(GRACE.user_id),
        "providerLogin": GRACE.login,
    }


def test_cursors_are_written_as_instants(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    ledger.scans.finish(SCOPE_ID, [cursor("2026-02-17T11:22:33.444")], NOW)
    [row] = rows(ledger_engine, "SELECT * FROM ingestion_cursors")
    assert (row["scope_id"], row["source_ref"], row["cursor_value"]) == (SCOPE_ID, REPO, "2026-02-17T11:22:33.444Z")


def test_odd_weights_of_before_break_no_view(ledger: PostgresLedger, ledger_engine: Engine) -> None:
    epoch_id = reviewed(ledger).epoch.id
    row = {"node": NODE_ID, "epoch": epoch_id, "event": pull_request(1).id}
    with ledger_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE epochs DROP CONSTRAINT epochs_weight_config_json_check")
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.execute(
            text("INSERT INTO activity_selection VALUES (:node, :epoch, :event, true, 'included', 500)"), row
        )
        for weights in ('{"github:pr_merged": "much"}', '{"github:pr_merged": 1.5}', "null", "[]", '"x"'):
            connection.execute(text("UPDATE epochs SET weight_config = CAST(:weights AS jsonb)"), {"weights": weights})
            assert connection.scalar(text("SELECT count(*) FROM (SELECT * FROM epoch_selection OFFSET 0) AS view")) == 3
