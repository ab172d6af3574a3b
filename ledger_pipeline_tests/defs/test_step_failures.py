"""A failed run leads with one clear message; the trace comes after it, and neither shows a secret."""

import dagster as dg
import pytest

from ledger_pipeline.core.known_secrets import keep_secret
from ledger_pipeline.defs import elsewhere
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS
from ledger_pipeline_tests.defs.deployment import Deployment

WEEK = "2026-02-16"
SECRET = "of-twenty-four-letters-x"


def failure(deployment: Deployment) -> tuple[str, str]:
    """What the page of a run of `activity_events` that failed shows first, and all that it shows."""
    result = deployment.materialize(WEEK, selection=[ACTIVITY_EVENTS])
    [step] = result.filter_events(lambda event: event.is_step_failure)
    assert not result.success
    error = step.step_failure_data.error
    assert error is not None
    return error.message, error.to_string()


def break_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(elsewhere, "digest_metadata", fail)


def test_what_is_refused_is_the_first_that_the_page_says_and_the_trace_comes_after(deployment: Deployment) -> None:
    first, shown = failure(deployment)
    assert first.startswith(f"Failed: never collected: epoch {WEEK} of default")
    assert shown.startswith(first)
    assert "Traceback" not in first
    assert "EpochNotReady" in shown
    assert "raise refusal" in shown


def test_so_is_where_a_bug_is_and_what_it_says(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployment.materialize(WEEK).success
    break_it(monkeypatch, ZeroDivisionError("of all things"))
    first, shown = failure(deployment)
    assert first.startswith("Failed: ZeroDivisionError at test_step_failures.py:")
    assert first.endswith(": of all things\n")
    assert "held_states" in shown


def test_a_bug_whose_words_show_a_secret_says_where_it_is_alone(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert deployment.materialize(WEEK).success
    keep_secret(SECRET)
    break_it(monkeypatch, ZeroDivisionError(f"with {SECRET}"))
    first, shown = failure(deployment)
    assert first.startswith("Failed: ZeroDivisionError at test_step_failures.py:")
    assert "it shows a secret" in first
    assert SECRET not in shown


def test_a_failure_of_dagsters_passes(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deployment.materialize(WEEK).success
    break_it(monkeypatch, dg.Failure("as it is"))
    assert failure(deployment)[0] == "dagster._core.definitions.events.Failure: as it is\n"
