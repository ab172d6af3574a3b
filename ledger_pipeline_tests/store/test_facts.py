"""Facts beside events: what is kept of observations, which of them count, and what the database refuses."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from ledger_pipeline.core.errors import StoreError
from ledger_pipeline.core.facts import (
    Account,
    Facts,
    IssueFacts,
    Observation,
    PullRequestFacts,
    ReviewFacts,
    facts_hash,
    facts_json,
    facts_set_hash,
    gone,
)
from ledger_pipeline.core.sources import PR_MERGED
from ledger_pipeline.store import observations
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.scan_records import PageContent
from ledger_pipeline_tests.builders import (
    GITHUB,
    NODE_ID,
    OTHER_SCOPE_ID,
    PRODUCER,
    REPO,
    SCOPE_ID,
    instant,
    issue,
    pull_request,
    review,
    window,
)
from ledger_pipeline_tests.postgres import set_status
from ledger_pipeline_tests.store.settlement import rows_of

NOW = instant("2026-02-18")
INTO_MAIN = PullRequestFacts(base_branch="main", labels=("bug", "docs"))
INTO_NEXT = PullRequestFacts(base_branch="next", labels=("bug", "docs"))


def record(ledger: PostgresLedger, event_id: str, facts: Facts, *, hours: int = 0) -> bool:
    """Whether the observation, made `hours` after NOW, was kept."""
    at = NOW + timedelta(hours=hours)
    return event_id in ledger.facts.record(SCOPE_ID, [Observation(event_id, facts)], at, PRODUCER)


def pinned(ledger: PostgresLedger, epoch_id: int) -> dict[str, dict[str, object]]:
    return {row.event_id: dict(row.facts) for row in ledger.facts.pinned(epoch_id)}


@pytest.fixture
def epoch_id(ledger: PostgresLedger) -> int:
    """The epoch of a pull request, a review and an issue."""
    [epoch] = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    ledger.events.append(SCOPE_ID, [pull_request(), review(), issue()], PRODUCER, NOW)
    return epoch.id


def test_what_was_known_stays_known_where_a_later_observation_leaves_it_unknown(
    ledger: PostgresLedger, epoch_id: int
) -> None:
    event_id = pull_request().id
    with_paths = PullRequestFacts(base_branch="main", labels=("bug",), changed_paths=("docs/a.md",))
    assert record(ledger, event_id, with_paths)
    assert not record(ledger, event_id, PullRequestFacts(base_branch="main"), hours=1)
    assert record(ledger, event_id, PullRequestFacts(labels=(), is_draft=False), hours=2)
    whole = PullRequestFacts(base_branch="main", labels=(), is_draft=False, changed_paths=("docs/a.md",))
    assert pinned(ledger, epoch_id) == {event_id: facts_json(whole)}
    assert record(ledger, event_id, gone(PR_MERGED), hours=3)
    assert pinned(ledger, epoch_id) == {event_id: facts_json(gone(PR_MERGED))}
    assert record(ledger, event_id, INTO_MAIN, hours=4)
    assert pinned(ledger, epoch_id) == {event_id: facts_json(INTO_MAIN)}


def test_facts_that_nobody_can_read_complete_none_and_that_is_said(
    ledger: PostgresLedger, ledger_engine: Engine, epoch_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    event_id = pull_request().id
    with ledger_engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO event_facts (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer,
                    producer_version)
                VALUES (:node_id, :scope_id, :event_id, repeat('0', 64),
                    '{"eventType": "pr_merged", "unheardOf": 1}', :at, 'x', '1')
            """),
            {"node_id": NODE_ID, "scope_id": SCOPE_ID, "event_id": event_id, "at": NOW},
        )
    assert record(ledger, event_id, INTO_MAIN, hours=1)
    assert pinned(ledger, epoch_id) == {event_id: facts_json(INTO_MAIN)}
    [warning] = caplog.messages
    assert warning.startswith(
        f"the facts of 1 event that were recorded before cannot be read, such as those of {event_id} ("
    )
    assert record(ledger, event_id, INTO_NEXT, hours=2)
    assert len(caplog.messages) == 1


def test_an_observation_is_a_row_where_it_differs_from_the_last(ledger: PostgresLedger, epoch_id: int) -> None:
    event_id = pull_request().id
    sequence = [INTO_MAIN, INTO_MAIN, INTO_NEXT, INTO_NEXT, INTO_MAIN]
    assert [record(ledger, event_id, facts) for facts in sequence] == [True, False, True, False, True]
    rows = ledger.facts.of_event([SCOPE_ID], event_id)
    assert [row.facts["baseBranch"] for row in rows] == ["main", "next", "main"]
    assert [row.facts_hash for row in rows] == [facts_hash(facts) for facts in (INTO_MAIN, INTO_NEXT, INTO_MAIN)]
    assert {(row.producer, row.producer_version, row.observed_at) for row in rows} == {
        (PRODUCER.name, PRODUCER.version, NOW)
    }
    assert len({row.recorded_at for row in rows}) == 3
    assert pinned(ledger, epoch_id) == {event_id: facts_json(INTO_MAIN)}


def test_what_was_observed_earlier_and_comes_later_is_no_news(ledger: PostgresLedger, epoch_id: int) -> None:
    assert record(ledger, pull_request().id, INTO_NEXT, hours=1)
    assert not record(ledger, pull_request().id, INTO_MAIN)
    assert record(ledger, pull_request().id, INTO_MAIN, hours=1)


def test_facts_change_no_event(ledger: PostgresLedger, epoch_id: int) -> None:
    before = (list(ledger.events.within(SCOPE_ID, window())), ledger.events.digests(SCOPE_ID, [window()]))
    record(ledger, pull_request().id, INTO_MAIN)
    assert (list(ledger.events.within(SCOPE_ID, window())), ledger.events.digests(SCOPE_ID, [window()])) == before


def test_facts_of_no_event_of_the_scope_are_left(ledger: PostgresLedger, epoch_id: int) -> None:
    assert not record(ledger, pull_request(9).id, INTO_MAIN)
    assert not record(ledger, issue().id, INTO_MAIN)  # they are of another kind of event
    observations = [Observation(pull_request().id, INTO_MAIN)]
    assert ledger.facts.record(OTHER_SCOPE_ID, observations, NOW, PRODUCER) == frozenset()
    assert ledger.facts.record(SCOPE_ID, [], NOW, PRODUCER) == frozenset()
    assert pinned(ledger, epoch_id) == {}


def test_what_is_pinned_is_in_code_point_order_and_has_the_hash_of_its_set(
    ledger: PostgresLedger, epoch_id: int
) -> None:
    capital = pull_request(3, repo="Zebra/x")
    ledger.events.append(SCOPE_ID, [capital, pull_request(2), pull_request(10)], PRODUCER, NOW)
    facts: dict[str, Facts] = {
        pull_request(2).id: INTO_MAIN,
        pull_request(10).id: INTO_NEXT,
        capital.id: gone(PR_MERGED),
        review().id: ReviewFacts(pull_request_author=Account("7", "ada", "User")),
        issue().id: IssueFacts(labels=()),
    }
    observations = [Observation(event_id, of_event) for event_id, of_event in facts.items()]
    assert ledger.facts.record(SCOPE_ID, observations, NOW, PRODUCER) == set(facts)
    rows = list(ledger.facts.pinned(epoch_id))
    assert [row.event_id for row in rows] == sorted(facts)
    assert {row.event_id: (row.facts_hash, row.facts) for row in rows} == {
        event_id: (facts_hash(of_event), facts_json(of_event)) for event_id, of_event in facts.items()
    }
    assert {row.event_type for row in rows} == {"pr_merged", "review_submitted", "issue_closed"}
    expected = facts_set_hash([(event_id, facts_hash(of_event)) for event_id, of_event in facts.items()])
    assert ledger.facts.pinned_set_hash(epoch_id) == expected


def test_what_is_observed_after_the_closing_is_kept_and_not_pinned(
    ledger: PostgresLedger, ledger_engine: Engine, epoch_id: int
) -> None:
    record(ledger, pull_request().id, INTO_MAIN)
    set_hash = ledger.facts.pinned_set_hash(epoch_id)
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    assert record(ledger, pull_request().id, INTO_NEXT, hours=1)
    assert record(ledger, review().id, ReviewFacts(labels=()))
    assert pinned(ledger, epoch_id) == {pull_request().id: facts_json(INTO_MAIN)}
    assert ledger.facts.pinned_set_hash(epoch_id) == set_hash
    assert len(ledger.facts.of_event([SCOPE_ID], pull_request().id)) == 2


def page(*events: object, facts: list[Observation]) -> PageContent:
    return PageContent(GITHUB, REPO, PRODUCER, NOW, events=events, facts=facts)  # type: ignore[arg-type]


def test_a_page_stores_facts_with_its_events(ledger: PostgresLedger) -> None:
    [epoch] = ledger.epochs.ensure(SCOPE_ID, [window()], {}).epochs
    observations = [Observation(pull_request().id, INTO_MAIN), Observation(issue().id, IssueFacts(labels=("a",)))]
    ledger.scans.store_page(SCOPE_ID, page(pull_request(), issue(), facts=observations))
    assert set(pinned(ledger, epoch.id)) == {pull_request().id, issue().id}
    changed = [Observation(pull_request().id, INTO_NEXT)]
    ledger.scans.store_page(SCOPE_ID, page(pull_request(), facts=changed))
    assert pinned(ledger, epoch.id)[pull_request().id] == facts_json(INTO_NEXT)


def test_a_page_whose_facts_are_refused_stores_none_of_its_events(
    ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observations, "facts_text", lambda facts: '{"eventType": "pr_merged", "x": 1.5}')
    with pytest.raises(StoreError, match=r"event_facts\.facts is refused"):
        ledger.scans.store_page(SCOPE_ID, page(pull_request(), facts=[Observation(pull_request().id, INTO_MAIN)]))
    assert list(ledger.events.within(SCOPE_ID, window())) == []


def test_facts_of_what_the_ledger_refused_are_none_of_what_it_holds(
    ledger: PostgresLedger, ledger_engine: Engine, epoch_id: int
) -> None:
    set_status(ledger_engine, SCOPE_ID, window(), EpochStatus.REVIEW)
    again, late, twin = issue(at="2026-02-19T00:00:00Z"), pull_request(7), pull_request(object_id="12")
    facts = [
        Observation(again.id, IssueFacts(labels=())),
        Observation(late.id, INTO_MAIN),
        Observation(twin.id, INTO_MAIN),
        Observation(review(8).id, ReviewFacts()),  # on no page
    ]
    ledger.scans.store_page(SCOPE_ID, page(again, late, twin, facts=facts))
    assert rows_of(ledger_engine, "event_facts") == {"event_facts": 0}


def test_facts_of_an_event_of_a_renamed_repository_are_of_the_stored_event(
    ledger: PostgresLedger, epoch_id: int
) -> None:
    renamed = pull_request(repo="new/name")
    ledger.scans.store_page(SCOPE_ID, page(renamed, facts=[Observation(renamed.id, INTO_NEXT)]))
    assert pinned(ledger, epoch_id) == {pull_request().id: facts_json(INTO_NEXT)}


def test_sets_that_are_too_long_to_keep_are_unknown(ledger: PostgresLedger, epoch_id: int) -> None:
    labels = tuple(f"{number}{'x' * 1990}" for number in range(600))
    record(ledger, pull_request().id, PullRequestFacts(base_branch="main", labels=labels))
    assert pinned(ledger, epoch_id) == {pull_request().id: facts_json(PullRequestFacts(base_branch="main"))}


WRITE = """
    INSERT INTO event_facts (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer, producer_version)
    VALUES (:node, :scope, :event, :hash, CAST(:facts AS jsonb), :at, 'eve', '0')
"""


def written(
    engine: Engine,
    event: str = pull_request().id,
    *,
    event_type: str = PR_MERGED,
    hash_: str = "0" * 64,
    at: str = "2026-02-18Z",
    scope: UUID = SCOPE_ID,
) -> None:
    """What somebody else writes."""
    facts = f'{{"eventType": "{event_type}"}}'
    values = {"node": NODE_ID, "scope": scope, "event": event, "hash": hash_, "facts": facts, "at": at}
    with engine.begin() as connection:
        connection.execute(text(WRITE), values)


def test_the_database_refuses_facts_that_are_of_nothing(ledger_engine: Engine, epoch_id: int) -> None:
    for refused in (
        {"event": "github:pr:x/y:1"},
        {"event_type": "issue_closed"},
        {"scope": OTHER_SCOPE_ID},
    ):
        with pytest.raises(DBAPIError, match=r"there is no event .* of the type that its facts are of"):
            written(ledger_engine, **refused)  # type: ignore[arg-type]
    with pytest.raises(DBAPIError, match="is more than a day to come"):
        written(ledger_engine, at="2999-01-01Z")
    with pytest.raises(DBAPIError, match="event_facts_facts_hash_check"):
        written(ledger_engine, hash_="none")


def test_facts_that_do_not_have_their_hash_count_for_nothing_until_they_are_observed_again(
    ledger: PostgresLedger, ledger_engine: Engine, epoch_id: int
) -> None:
    facts = PullRequestFacts(base_branch="next")
    written(ledger_engine, hash_=facts_hash(facts))
    with pytest.raises(StoreError, match=f"the facts of {pull_request().id} do not have the hash"):
        ledger.facts.pinned_set_hash(epoch_id)
    assert record(ledger, pull_request().id, facts)
    assert pinned(ledger, epoch_id) == {pull_request().id: facts_json(facts)}


def test_nobody_says_when_facts_were_recorded_but_the_database(
    ledger: PostgresLedger, ledger_engine: Engine, epoch_id: int
) -> None:
    with ledger_engine.begin() as connection:
        before = connection.scalar(text("SELECT clock_timestamp()"))
        connection.execute(
            text(f"""
                INSERT INTO event_facts (node_id, scope_id, event_id, facts_hash, facts, observed_at, producer,
                    producer_version, recorded_at)
                VALUES ('{NODE_ID}', '{SCOPE_ID}', '{pull_request().id}', '{"0" * 64}', '{{"eventType": "pr_merged"}}',
                    now(), 'eve', '0', '2020-01-01Z')
            """)
        )
    [row] = ledger.facts.of_event([SCOPE_ID], pull_request().id)
    assert before is not None
    assert row.recorded_at >= before
