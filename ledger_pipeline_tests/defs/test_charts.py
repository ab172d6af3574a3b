"""The charts in a materialization's metadata: bars that Dagster's UI shows in their place, as text."""

from datetime import timedelta

import dagster as dg
from markdown_it import MarkdownIt

from ledger_pipeline.core.windows import EpochCalendar
from ledger_pipeline.defs.charts import WINDOWS_DRAWN, chart_metadata, credits_bars, units_bars
from ledger_pipeline_tests.builders import instant, scope, weeks
from ledger_pipeline_tests.defs.conftest import NOW
from ledger_pipeline_tests.defs.deployment import Deployment
from ledger_pipeline_tests.hostile import HOSTILE
from ledger_pipeline_tests.sources.simulator.worlds import merged, world

# As long or longer, and Dagster's UI shows "[Show Markdown]" in its place.
SHOWN_IN_PLACE_BELOW = 1000


def lines(chart: dg.MetadataValue | str) -> list[str]:
    """What is read of a chart: one block of text, and nothing that Markdown would act on."""
    markdown = str(chart if isinstance(chart, str) else chart.value)
    assert len(markdown) < SHOWN_IN_PLACE_BELOW
    [block] = MarkdownIt().parse(markdown)
    assert block.type == "fence"
    return block.content.splitlines()


def test_a_partition_shows_its_events_by_day_and_its_contributors(deployment: Deployment) -> None:
    at = NOW - timedelta(hours=1)
    deployment.github.replace_world(world(merged(1, at), merged(2, at), merged(3, at - timedelta(days=1))))
    assert deployment.materialize("2026-02-16").success
    metadata = deployment.metadata("activity_events", "2026-02-16|default")
    by_day = lines(metadata["events_per_day"])
    assert [by_day[1], by_day[2], by_day[3]] == [
        f"Tue 2026-02-17 {'█' * 8} 1",
        f"Wed 2026-02-18 {'█' * 16} 2",
        "Thu 2026-02-19  0",
    ]
    assert len(by_day) == 7
    assert lines(metadata["units_per_contributor"]) == [f"ana {'█' * 16} 3"]


def test_a_day_or_twelve_weeks_and_no_events_have_their_charts_too(deployment: Deployment) -> None:
    for days, first, count in ((1, "2026-02-16", 1), (84, "2025-12-22", 12)):
        epoch = EpochCalendar(days).window_at(instant(f"{first}T12:00"))
        charts = chart_metadata(deployment.ledger, scope(), epoch, None)
        assert len(lines(charts["events_per_day"])) == count
        assert lines(charts["units_per_contributor"]) == ["No events."]


def test_of_many_people_those_with_most_have_a_line_and_all_others_one() -> None:
    drawn = lines(units_bars([(f"person-{number:02}", number * 500) for number in range(1, 31)], "Nobody."))
    assert [drawn[0], drawn[-1]] == [f"person-30 {'█' * 3} 15", f"19 others {'█' * 16} 95"]
    assert len(drawn) == 12


def test_accounts_that_nobody_linked_are_told_apart() -> None:
    units = [("ana", 500), ("identity:github:58641509", 2000), ("identity:github:7390112", 1000)]
    names = [line.partition("█")[0].rstrip() for line in lines(units_bars(units, "Nobody."))]
    assert names == ["github 58641509", "github 7390112", "ana"]
    assert lines(credits_bars(dict(units)))[0].startswith("github 58641509 █")


def test_whatever_a_name_and_an_amount_are_a_chart_is_one_short_block_of_text() -> None:
    fences = ["```", "````", "~~~~", "`````text", "| a |"]
    for first in range(0, len(HOSTILE), 11):
        names = [*HOSTILE[first : first + 11], *fences]
        assert len(lines(credits_bars({name * 30: 10**20 + place for place, name in enumerate(names)}))) == min(
            len(names), 12
        )
        assert lines(credits_bars(dict.fromkeys(names, 0)))


def test_a_run_over_many_epochs_draws_the_latest_alone(deployment: Deployment) -> None:
    epochs = [week.key for week in weeks(WINDOWS_DRAWN + 2, "2025-11-10")]
    deployment.first_epoch(epochs[0])
    assert deployment.materialize(epochs[0], epochs[-1]).success
    drawn = [
        epoch for epoch in epochs if "events_per_day" in deployment.metadata("activity_events", f"{epoch}|default")
    ]
    assert drawn == epochs[2:]
