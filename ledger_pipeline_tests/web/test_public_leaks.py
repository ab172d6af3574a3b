"""Of an epoch that is not finalized no public route says anything: every answer is the same without it, to the byte."""

from dataclasses import replace
from pathlib import Path

import requests
from sqlalchemy import Engine

from ledger_pipeline.core.facts import Observation, PullRequestFacts
from ledger_pipeline.store.epochs import EVER
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.settlement_records import Judgement, NewBinding
from ledger_pipeline_tests.builders import PRODUCER, SCOPE_ID, pull_request, weeks
from ledger_pipeline_tests.store.settlement import Books, bound
from ledger_pipeline_tests.web.crawling import api_paths, crawled
from ledger_pipeline_tests.web.publishing import PEOPLE, USERS, fair_scope, finalized_weeks, serving, shown, work_of

FIRST, SECOND, IN_REVIEW, RUNNING = weeks(4, "2026-02-23")
IDS = range(1, 6)
SECRET = "nobody-may-know-this"


def answers_of(url: str, folder: Path) -> dict[str, tuple[int, dict[str, str], bytes]]:
    """Every answer that there is to have, as a process that starts now gives it, but for its date."""
    ids = [f"/epochs/{epoch_id}" for epoch_id in IDS]
    people = [f"/contributors/user:{name}" for name in (*USERS.values(), SECRET)]
    paths = [
        *api_paths(IDS), "/api/v1/public/openapi.json", "/readyz", *ids, *people, "/contributors/identity:github:77",
        *(f"{path}/archive.zip" for path in ids), *(f"{path}/claimants/user:{SECRET}" for path in ids),
    ]  # fmt: skip
    folder.mkdir()
    with shown(url, folder) as app, serving(app) as site:
        return {path: _compared(answer) for path, answer in crawled(site, paths).items()}


def _compared(answer: requests.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    return answer.status_code, headers, answer.content


def test_no_answer_differs_by_what_is_open_or_in_review(
    ledger: PostgresLedger, ledger_engine: Engine, ledger_url: str, tmp_path: Path
) -> None:
    [_, amended] = finalized_weeks(ledger, [FIRST, SECOND], events=8)
    before = answers_of(ledger_url, tmp_path / "before")
    assert {status for status, _, _ in before.values()} == {200, 404}

    # An amendment that waits for its signature, an epoch in review that was handed out to be signed, and one that runs.
    amended.correct("bo", 9000, SECRET)
    amended.draft()
    secret = pull_request(1, at="2026-03-10T00:00:00Z", author=replace(PEOPLE[0], login=SECRET), title=SECRET)
    reviewed = Books(ledger, fair_scope(), IN_REVIEW)
    assert reviewed.epoch
    reviewed.append(secret, *work_of(IN_REVIEW, 8))
    ledger.facts.record(SCOPE_ID, [Observation(secret.id, PullRequestFacts())], IN_REVIEW.start, PRODUCER)
    ledger.identities.bind([*bound({PEOPLE[0].user_id: "ana"}), NewBinding("github", "77", SECRET)])
    reviewed.materialize()
    ledger.curation.judge(reviewed.epoch, secret.id, Judgement(SECRET, included=False))
    ledger.allocations.decide(reviewed.epoch, SECRET, 5000, SECRET)
    reviewed.materialize()
    reviewed.close()
    reviewed.draft()
    running = Books(ledger, fair_scope(), RUNNING)
    assert running.epoch
    running.append(*work_of(RUNNING, 8))
    running.materialize()
    assert len(ledger.epochs.within(SCOPE_ID, EVER)) == 4

    after = answers_of(ledger_url, tmp_path / "after")
    assert after.keys() == before.keys()
    assert [path for path in before if before[path] != after[path]] == []
    assert not any(SECRET.encode() in body for path, (_, _, body) in after.items() if SECRET not in path)

    reviewed.finalize(reviewed.signature())
    assert answers_of(ledger_url, tmp_path / "finalized") != after
