"""As a person does it, in Chromium: a backfill from the partition dialog, a partition's metadata, a week that nobody
read, a late event, a failing check, the report, and what the demo left.

Screenshots of each step are left in `.ledger/e2e`, to be looked at.
Run by `make e2e`; Debian's Chromium does the rendering, Playwright drives it.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.repo_spec import load_repo_spec
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.faults import FailedAnswer
from ledger_pipeline.sources.simulator.generated import generate_world
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import World
from ledger_pipeline_tests.command_line import Command
from ledger_pipeline_tests.sources.simulator.worlds import merged
from ledger_pipeline_tests.test_develop import REPO_SPEC, Dev, environment, running
from ledger_pipeline_tests.waiting import eventually

pytestmark = pytest.mark.e2e

ARTEFACTS = REPO_SPEC.parents[1] / ".ledger" / "e2e"
EPOCHS = 6
EVENTS = ["activity_events"]
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MILLIS = 30_000


@pytest.fixture(scope="module")
def github() -> Iterator[Simulator]:
    """GitHub with two years of activity in the repo-spec's repositories, its clock at this moment."""
    now = datetime.now(UTC).replace(microsecond=0)
    [source] = load_repo_spec(REPO_SPEC).default_scope.sources
    with Simulator(generate_world(1, now, source.source_scopes), as_of=now) as simulator:
        yield simulator


@pytest.fixture
def dev(github: Simulator, embedded_home: Path, tmp_path: Path) -> Iterator[Dev]:
    """The whole stack, collecting from that GitHub."""
    credentials = {
        "GITHUB_API_URL": github.url,
        "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
        "GITHUB_TOKEN": "any",
        "GITHUB_RETRIES": "0",
    }
    with running(embedded_home, tmp_path, **credentials) as dev:
        yield dev


LINEAGE_IS_LOADED = """() => {
    const text = document.body.innerText;
    return text.includes("Latest event") && !text.includes("Loading") && text.includes("activity_events");
}"""
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser's page, as wide as a laptop's."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(PATIENCE_MILLIS)
        expect.set_options(timeout=PATIENCE_MILLIS)
        yield page
        keep(page, "last-seen")
        browser.close()


@pytest.mark.timeout(600)
def test_from_the_partition_dialog_to_green_to_a_red_check_to_the_report(
    dev: Dev, github: Simulator, page: Page, command: Command
) -> None:
    url = f"http://127.0.0.1:{dev.port}"
    epochs = epochs_before_this_one()
    launch_backfill(page, url, epochs)
    eventually(lambda: green(url) == EPOCHS, deadline_seconds=120)
    read_partition(page, url, epochs[-1])
    see_a_week_that_nobody_read_refused_and_all_others_grey(page, url, epochs[0])
    see_a_late_event_change_its_weeks_numbers(page, url, github, epochs[-1])
    break_a_repository_and_see_it_red(page, url, github)
    look_at_the_report(page, dev, command, epochs[-1])


def epochs_before_this_one() -> list[EpochWindow]:
    calendar = EpochCalendar(7)
    running_epoch = calendar.window_at(datetime.now(UTC))
    return [calendar.window_at(running_epoch.start - timedelta(weeks=back)) for back in range(EPOCHS, 0, -1)]


def launch_backfill(page: Page, url: str, epochs: list[EpochWindow]) -> None:
    page.goto(f"{url}/locations/ledger_pipeline/asset-groups/ingestion/lineage")
    page.get_by_role("button", name="Materialize all…").click()
    page.get_by_placeholder("ex: ").fill(f"[{epochs[0].key}...{epochs[-1].key}]")
    page.get_by_placeholder("ex: ").press("Enter")
    page.get_by_role("button", name="All", exact=True).last.click()
    expect(page.get_by_text(f"{EPOCHS} partitions")).to_be_visible()
    keep(page, "1-partition-dialog")
    page.get_by_role("button", name="Launch backfill").click()
    expect(page.get_by_text("activity_events").first).to_be_visible()


def read_partition(page: Page, url: str, epoch: EpochWindow) -> None:
    page.goto(f"{url}/assets/activity_events?view=partitions&partition={epoch.key}|default")
    expect(page.get_by_text("set_hash", exact=True)).to_be_visible()
    expect(page.get_by_text(f"Materialized ({EPOCHS})")).to_be_visible()
    keep(page, "2-partition")
    page.get_by_text("units_per_contributor").scroll_into_view_if_needed()
    # Charts are there, and not behind a click.
    expect(page.get_by_text("█").first).to_be_visible()
    expect(page.get_by_text("[Show Markdown]")).to_have_count(0)
    keep(page, "3-partition-metadata")


def see_a_week_that_nobody_read_refused_and_all_others_grey(page: Page, url: str, first: EpochWindow) -> None:
    week = EpochCalendar(7).window_at(first.start - timedelta(weeks=1))
    page.goto(f"{url}/assets/activity_events?view=partitions")
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_placeholder("ex: ").fill(week.key)
    dialog.get_by_placeholder("ex: ").press("Enter")
    dialog.get_by_role("button", name="All", exact=True).last.click()
    keep(page, "3a-materialize-a-week-nobody-read")
    dialog.get_by_role("button", name="Launch").click()
    eventually(lambda: failed_runs(url) == 1, deadline_seconds=120)
    page.goto(f"{url}/assets/activity_events?view=partitions&partition={week.key}|default")
    expect(page.get_by_text("did not materialize this asset")).to_be_visible()
    expect(page.get_by_text(f"Materialized ({EPOCHS})")).to_be_visible()
    expect(page.get_by_text("Failed (1)")).to_be_visible()
    keep(page, "3b-nobody-read-it")
    page.get_by_text("View logs").click()
    expect(page.get_by_text(f"Failed: never collected: epoch {week.key}").first).to_be_visible()
    keep(page, "3c-refused-by-name")
    assert green(url) == EPOCHS


def see_a_late_event_change_its_weeks_numbers(page: Page, url: str, github: Simulator, epoch: EpochWindow) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    github.set_clock(now)
    first, *others = github.world.repositories
    late = merged(900_001, epoch.start + timedelta(hours=1), touched_at=(now,))
    first = replace(first, pull_requests=(*first.pull_requests, late))
    github.replace_world(World((first, *others)))
    launch_running_epoch(page, url)
    # The running epoch is collected; that of the week before says at once what came too late for it.
    eventually(lambda: green(url) == EPOCHS + 1, deadline_seconds=120)
    page.goto(f"{url}/assets/activity_events?view=partitions&partition={epoch.key}|default")
    expect(page.get_by_text("rejected_by_reason")).to_be_visible()
    keep(page, "3d-late-event")


def launch_running_epoch(page: Page, url: str) -> None:
    page.goto(f"{url}/locations/ledger_pipeline/asset-groups/ingestion/lineage")
    page.get_by_role("button", name="Materialize all…").click()
    page.get_by_role("button", name="Latest").click()
    page.get_by_role("button", name="All", exact=True).last.click()
    page.get_by_role("button", name="Launch").click()


def break_a_repository_and_see_it_red(page: Page, url: str, github: Simulator) -> None:
    github.faults.for_repository("cogni-dao/website", FailedAnswer.NOT_FOUND)
    launch_running_epoch(page, url)
    eventually(lambda: failed_runs(url) == 2, deadline_seconds=120)
    page.goto(f"{url}/assets/activity_events?view=checks")
    page.get_by_text("every_source_scope_read").first.click()
    expect(page.get_by_text("Failed").first).to_be_visible()
    # The latest result may be another epoch's: a sensor looks at each once more when its status moves.
    page.get_by_text("Execution history").click()
    expect(page.get_by_text("cogni-dao/website").first).to_be_visible()
    keep(page, "4-failed-check")


def look_at_the_report(page: Page, dev: Dev, command: Command, epoch: EpochWindow) -> None:
    file = ARTEFACTS / "report.html"
    home = {"LEDGER_HOME": str(dev.home), "LEDGER_REPO_SPEC": str(REPO_SPEC)}
    ran = command("report", "--epoch", epoch.key, "--output", str(file), **home)
    assert ran.code == 0, ran.err
    page.goto(file.as_uri())
    expect(page.get_by_role("heading").first).to_be_visible()
    assert page.locator("img").count() == 2
    assert all(page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth > 0)"))
    page.screenshot(path=ARTEFACTS / "5-report.png", full_page=True)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.screenshot(path=ARTEFACTS / "6-report-on-a-phone.png", full_page=True)


@pytest.mark.timeout(600)
def test_after_the_demo_all_is_green_and_its_signed_epoch_is_there(
    embedded_home: Path, tmp_path: Path, page: Page
) -> None:
    # In a process of its own: Playwright has this one's event loop.
    demo = [str(Path(sys.executable).parent / "ledger-pipeline"), "demo"]
    subprocess.run(demo, env=environment(embedded_home), check=True, capture_output=True)
    with running(embedded_home, tmp_path) as dev:
        url = f"http://127.0.0.1:{dev.port}"
        page.goto(f"{url}/locations/ledger_pipeline/asset-groups/ingestion/lineage")
        page.wait_for_function(LINEAGE_IS_LOADED)
        assert "Missing" not in page.inner_text("body")
        keep(page, "7-lineage-after-the-demo")
        # A sensor notices it within a minute.
        eventually(lambda: green(url, ["payout_statement"]) == 1, deadline_seconds=180)
        page.goto(f"{url}/assets/payout_statement?view=partitions&partition=2026-01-05|default")
        expect(page.get_by_text("statement_id")).to_be_visible()
        expect(page.get_by_text("0x70997970C51812dc3A010C7d01b50e0d17dc79C8").first).to_be_visible()
        keep(page, "8-signed-epoch")


def keep(page: Page, name: str) -> None:
    page.screenshot(path=ARTEFACTS / f"{name}.png")


def green(url: str, asset: Sequence[str] = EVENTS) -> int:
    """How many partitions of an asset are materialized."""
    nodes = ask(url, "{assetNodes {assetKey {path} partitionStats {numMaterialized}}}")["assetNodes"]
    [materialized] = [node["partitionStats"]["numMaterialized"] for node in nodes if node["assetKey"]["path"] == asset]
    return int(materialized)


def failed_runs(url: str) -> int:
    """How many runs have failed."""
    return len(
        ask(url, "{runsOrError(filter: {statuses: [FAILURE]}) {... on Runs {results {runId}}}}")["runsOrError"][
            "results"
        ]
    )


def ask(url: str, query: str) -> Any:
    """What Dagster's API answers."""
    return requests.post(f"{url}/graphql", json={"query": query}, timeout=30).json()["data"]
