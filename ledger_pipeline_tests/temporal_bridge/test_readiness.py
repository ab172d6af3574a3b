"""Running the checks: together, within a time, not more often than they are worth, whatever they do."""

import asyncio
import threading
import time
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from ledger_pipeline.core.errors import DagsterUnavailable, LedgerNotMigrated, StoreUnavailable
from ledger_pipeline.store import migrations
from ledger_pipeline.temporal_bridge.worker import health
from ledger_pipeline.temporal_bridge.worker.health import CheckResult, Readiness, database_check, in_thread

DEADLINE_SECONDS = 30


async def fine() -> str:
    return "fine"


async def refused() -> str:
    raise DagsterUnavailable("no answer from Dagster")


async def broken() -> str:
    raise KeyError("a bug")


async def hanging() -> str:
    await asyncio.Event().wait()
    return "never"


def test_each_check_says_what_it_saw_and_a_failed_one_why() -> None:
    results = asyncio.run(Readiness({"temporal": fine, "dagster": refused}).results())
    assert results == {"temporal": CheckResult(True, "fine"), "dagster": CheckResult(False, "no answer from Dagster")}


def test_checks_that_hang_fail_together_and_hold_up_no_other() -> None:
    began = time.monotonic()
    results = asyncio.run(Readiness({"a": hanging, "b": hanging, "c": fine}, timeout_seconds=0.5).results())
    assert time.monotonic() - began < 0.9
    assert results["a"] == results["b"] == CheckResult(False, "no answer within 0.5 s")
    assert results["c"].ok


def test_a_check_with_a_bug_is_not_ready_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    results = asyncio.run(Readiness({"a": broken, "b": fine}).results())
    assert results["a"] == CheckResult(False, "the check itself failed: KeyError")
    assert results["b"].ok
    assert "a bug" in caplog.text


def test_a_check_that_changes_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "KEPT_SECONDS", 0.0)
    answers = iter(["fine", "fine", None, None, "fine"])

    async def changing() -> str:
        answer = next(answers)
        return answer if answer is not None else await refused()

    async def probes() -> None:
        readiness = Readiness({"dagster": changing})
        for _ in range(5):
            await readiness.results()

    with caplog.at_level("INFO"):
        asyncio.run(probes())
    assert [record.getMessage() for record in caplog.records if record.name == health.__name__] == [
        "dagster: ok: fine",
        "dagster: not ready: no answer from Dagster",
        "dagster: ok: fine",
    ]


def test_many_probes_at_once_ask_once() -> None:
    asked = 0

    async def counting() -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return "fine"

    async def probes() -> None:
        readiness = Readiness({"a": counting})
        assert all(results["a"].ok for results in await asyncio.gather(*(readiness.results() for _ in range(50))))

    asyncio.run(probes())
    assert asked == 1


def test_draining_is_not_ready_at_once_though_the_checks_were_fine_just_now() -> None:
    async def drained() -> dict[str, CheckResult]:
        readiness = Readiness({"temporal": fine, "database": fine})
        assert (await readiness.results())["temporal"].ok
        readiness.drain()
        return await readiness.results()

    results = asyncio.run(drained())
    assert not results["temporal"].ok
    assert "draining" in results["temporal"].detail
    assert results["database"].ok


def test_a_blocking_check_that_hangs_is_not_started_again_and_its_answer_is_used() -> None:
    started: list[int] = []
    release = threading.Event()

    def blocking() -> str:
        started.append(1)
        release.wait(DEADLINE_SECONDS)
        return "late"

    async def probes() -> str:
        check = in_thread(blocking)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(check(), 0.05)
        assert len(started) == 1
        release.set()
        return await asyncio.wait_for(check(), DEADLINE_SECONDS)

    assert asyncio.run(probes()) == "late"


def test_a_blocking_check_runs_again_for_each_question_and_raises_what_it_raises() -> None:
    answers: Iterator[str | StoreUnavailable] = iter([StoreUnavailable("away"), "back"])

    def blocking() -> str:
        answer = next(answers)
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    async def probes() -> str:
        check = in_thread(blocking)
        with pytest.raises(StoreUnavailable):
            await check()
        return await check()

    assert asyncio.run(probes()) == "back"


def test_a_migrated_database_passes_and_keeps_no_connection(ledger_url: str, postgres_server: str) -> None:
    assert database_check(ledger_url)() == f"at migration {migrations.head()}"
    with psycopg.connect(postgres_server) as server:
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'ledger-pipeline'"
        assert server.execute(count, [make_url(ledger_url).database]).fetchone() == (0,)


def test_a_database_at_another_migration_is_named_with_what_to_do(empty_database_url: str) -> None:
    with pytest.raises(LedgerNotMigrated, match=f"is at migration none, this program needs {migrations.head()}"):
        database_check(empty_database_url)()


def test_a_database_that_is_not_there_fails_without_its_password(ledger_url: str) -> None:
    url = make_url(ledger_url).set(database=f"gone_{uuid4().hex}", password="hush")
    with pytest.raises(StoreUnavailable, match="gone_") as caught:
        database_check(url.render_as_string(hide_password=False))()
    assert "hush" not in str(caught.value)
