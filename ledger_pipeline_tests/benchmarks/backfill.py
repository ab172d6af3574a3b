"""What collecting 663 epochs of two repositories in one Dagster run costs, over a Dagster run that does nothing.

The run that does nothing materializes as many partitions of as many assets and evaluates as many checks, by the same
executor: with Dagster's own storage in Postgres it is what Dagster takes as it comes, with ours what it takes where
connections are kept. Twice as many epochs are to take twice as long.

Every run is a process of its own on databases of its own, and its time is from asking for it to its end, with what
charts are drawn by imported before; the simulated GitHub stays in this process. All take turns, and the better of two
rounds counts; of the run on Dagster's own storage, which takes longest, one round has to do.
"""

import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from ledger_pipeline.core.sources import GITHUB_STREAMS
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.defs.jobs import COLLECT_EPOCH_JOB
from ledger_pipeline.defs.keys import ACTIVITY_EVENTS, stream_key
from ledger_pipeline.defs.partition_checks import DESCRIPTIONS
from ledger_pipeline.defs.partitions import activity_partitions, partition_range_tags
from ledger_pipeline.defs.progress import ProgressLog
from ledger_pipeline.local.collection_run import command_instance, run_collection
from ledger_pipeline.local.environment import child_environment, dagster_home, databases
from ledger_pipeline.settings import read_settings
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS
from ledger_pipeline.sources.simulator.server import Simulator
from ledger_pipeline.sources.simulator.world import Closure, Repository, World
from ledger_pipeline.store import migrations
from ledger_pipeline_tests.benchmarks.figure import Figure
from ledger_pipeline_tests.defs.deployment import write_repo_spec
from ledger_pipeline_tests.postgres import fresh_database, running_postgres
from ledger_pipeline_tests.sources.simulator.worlds import MONDAY, issue, merged, repository, review

EPOCHS = 663
ROUNDS = 2
REPOSITORIES = ("cogni-dao/ledger", "cogni-dao/website")
EVENTS_PER_EPOCH = 10
LAST_DAY = MONDAY
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
OURS, EMPTY, EMPTY_ON_DAGSTERS_OWN = "ours", "empty", "empty-on-dagsters-own"
DAGSTERS_OWN = {"storage": {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}}


def backfill_over_empty_run() -> Iterator[Figure]:
    """The ratios to the empty runs, and that of twice as many epochs."""
    with tempfile.TemporaryDirectory(prefix="lp") as folder, running_postgres(Path(folder)) as server:
        runs = count()

        def seconds(side: str, epochs: int = EPOCHS) -> float:
            return _seconds(server, Path(folder) / str(next(runs)), epochs, side)

        own = seconds(EMPTY_ON_DAGSTERS_OWN)
        rounds = [(seconds(EMPTY), seconds(OURS), seconds(OURS, 2 * EPOCHS)) for _ in range(ROUNDS)]
    empty, ours, twice = map(min, zip(*rounds, strict=True))
    run = f"a Dagster run that collects {EPOCHS} epochs with {EPOCHS * EVENTS_PER_EPOCH:,} events, time"
    yield Figure(f"{run}, over an empty one on Dagster's own storage", ours / own, "at most 1.3")
    yield Figure(f"{run}, over an empty one on ours", ours / empty, "no aim: its storage makes an empty run cheap")
    yield Figure(f"{run}, {2 * EPOCHS:,} epochs over {EPOCHS}", twice / ours, "at most 2.1")


def _seconds(server: str, folder: Path, epochs: int, side: str) -> float:
    windows = _windows(epochs)
    repo_spec = write_repo_spec(folder, *REPOSITORIES, first_epoch=windows[0].key, length_days=1)
    with ExitStack() as stack:
        ledger_url, dagster_url = (stack.enter_context(fresh_database(server)) for _ in range(2))
        migrations.upgrade(ledger_url)
        github = stack.enter_context(Simulator(_world(windows), as_of=windows[-1].end + 2 * DAY))
        environment = {
            "LEDGER_HOME": str(folder),
            "LEDGER_REPO_SPEC": str(repo_spec),
            "DATABASE_URL": ledger_url,
            "DAGSTER_DATABASE_URL": dagster_url,
            "DAGSTER_HOME": "",
            "GITHUB_API_URL": github.url,
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
            "GITHUB_TOKEN": "any",
        }
        command = [sys.executable, "-m", "ledger_pipeline_tests.benchmarks.backfill", side, str(epochs)]
        done = subprocess.run(command, env=child_environment(environment), capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"the {side} run of {epochs} epochs failed: {done.stderr[-2000:]}{done.stdout[-2000:]}")
    return float(done.stdout.split()[-1])


def _windows(epochs: int) -> list[EpochWindow]:
    """Days, for GitHub is not old enough for so many weeks, of which the last is the same whatever their number."""
    return [EpochWindow(LAST_DAY - n * DAY, LAST_DAY - (n - 1) * DAY) for n in reversed(range(epochs))]


def _world(windows: Sequence[EpochWindow]) -> World:
    """EVENTS_PER_EPOCH in every window."""
    return World(tuple(_repository(windows, name, place) for place, name in enumerate(REPOSITORIES)))


def _repository(windows: Sequence[EpochWindow], name: str, place: int) -> Repository:
    items = []
    for number, window in enumerate(windows):
        # GitHub's ids follow from the numbers: those of the repositories are apart.
        first, at = 100_000 * place + 3 * number + 1, window.start + HOUR
        items += [merged(n, at + HOUR, created_at=at, reviews=(review(n, at + HOUR),)) for n in (first, first + 1)]
        items.append(issue(first + 2, at, closures=(Closure(at + 2 * HOUR),)))
    return repository(*items, name=name, database_id=1 + place)


def _run(side: str, epochs: int) -> float:
    with databases(read_settings()) as settings, dagster_home(settings) as home:
        spec = settings.repo_spec()
        windows = _windows(epochs)
        with _instance(side, home) as instance:
            return (_ours if side == OURS else _empty)(instance, spec, windows)


def _instance(side: str, home: Path) -> dg.DagsterInstance:
    if side == EMPTY_ON_DAGSTERS_OWN:
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=DAGSTERS_OWN))
    return command_instance(home)


def _ours(instance: dg.DagsterInstance, spec: RepoSpec, windows: Sequence[EpochWindow]) -> float:
    started = time.perf_counter()
    run = run_collection(spec, spec.scopes[0], windows, instance, trigger="benchmark", progress=ProgressLog())
    seconds = time.perf_counter() - started
    events = sum(row.events for row in run.digests)
    if run.problem is not None or events != EVENTS_PER_EPOCH * len(windows):
        raise AssertionError(f"collected {events} events: {run.problem}")
    return seconds


def _empty(instance: dg.DagsterInstance, spec: RepoSpec, windows: Sequence[EpochWindow]) -> float:
    started = time.perf_counter()
    result = (
        _definitions(spec)
        .resolve_job_def(COLLECT_EPOCH_JOB)
        .execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            tags=partition_range_tags(windows[0], windows[-1], spec.scopes[0]),
        )
    )
    seconds = time.perf_counter() - started
    materialized = len(result.asset_materializations_for_node(ACTIVITY_EVENTS.path[-1]))
    if materialized != len(windows):
        raise AssertionError(f"materialized {materialized} partitions")
    return seconds


def _definitions(spec: RepoSpec) -> dg.Definitions:
    """The assets and checks of a collection, which do nothing."""
    partitions = activity_partitions(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        checks = [dg.AssetCheckSpec(name, asset=ACTIVITY_EVENTS, partitions_def=partitions) for name in DESCRIPTIONS]

    @dg.multi_asset(
        name="github_activity",
        specs=[dg.AssetSpec(stream_key(stream)) for stream in GITHUB_STREAMS],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def github_activity() -> Iterator[dg.MaterializeResult[None]]:
        for stream in GITHUB_STREAMS:
            yield dg.MaterializeResult(asset_key=stream_key(stream))

    @dg.multi_asset(
        name=ACTIVITY_EVENTS.path[-1],
        specs=[dg.AssetSpec(ACTIVITY_EVENTS, deps=[stream_key(stream) for stream in GITHUB_STREAMS])],
        check_specs=checks,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def activity_events(
        context: dg.AssetExecutionContext,
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckEvaluation | dg.Output[None]]:
        yield dg.MaterializeResult(asset_key=ACTIVITY_EVENTS)
        for check in DESCRIPTIONS:
            yield dg.Output(None, f"{ACTIVITY_EVENTS.path[-1]}_{check}")
            for key in context.partition_keys:
                yield dg.AssetCheckEvaluation(
                    asset_key=ACTIVITY_EVENTS, check_name=check, passed=True, metadata={}, partition=key
                )

    return dg.Definitions(
        assets=[github_activity, activity_events],
        jobs=[dg.define_asset_job(COLLECT_EPOCH_JOB, selection=dg.AssetSelection.all())],
        executor=dg.in_process_executor,
    )


if __name__ == "__main__":
    print(_run(sys.argv[1], int(sys.argv[2])))
