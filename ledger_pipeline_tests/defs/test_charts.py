"""The pictures in a materialization's metadata."""

import re
import struct
from base64 import b64decode
from datetime import timedelta

import pytest

from ledger_pipeline.defs.charts import WINDOWS_DRAWN
from ledger_pipeline_tests.builders import weeks
from ledger_pipeline_tests.defs.conftest import NOW
from ledger_pipeline_tests.defs.deployment import Deployment
from ledger_pipeline_tests.sources.simulator.worlds import merged, world

CHARTS = ("events_per_day", "units_per_contributor")
PNG_BYTES_AT_MOST = 40_000


@pytest.mark.usefixtures("drawn_charts")
def test_a_partition_shows_its_events_by_day_and_its_contributors_as_pictures(deployment: Deployment) -> None:
    deployment.github.replace_world(world(merged(1, NOW - timedelta(hours=1))))
    assert deployment.materialize("2026-02-16").success
    metadata = deployment.metadata("activity_events", "2026-02-16|default")
    for chart in CHARTS:
        [encoded] = re.fullmatch(r"!\[[\w ]+\]\(data:image/png;base64,([\w+/=]+)\)", metadata[chart]).groups()
        png = b64decode(encoded)
        assert png.startswith(b"\x89PNG")
        assert struct.unpack(">I", png[16:20]) == (720,)  # pixels wide
        assert len(png) < PNG_BYTES_AT_MOST


def test_a_run_over_many_epochs_draws_the_latest_alone(deployment: Deployment) -> None:
    epochs = [week.key for week in weeks(WINDOWS_DRAWN + 2, "2025-11-10")]
    deployment.first_epoch(epochs[0])
    assert deployment.materialize(epochs[0], epochs[-1]).success
    drawn = [
        epoch for epoch in epochs if "events_per_day" in deployment.metadata("activity_events", f"{epoch}|default")
    ]
    assert drawn == epochs[2:]
