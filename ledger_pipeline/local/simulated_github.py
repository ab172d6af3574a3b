"""The simulated GitHub of the local stack: the world it shows, and its clock, which stands still within an epoch."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.core.events import parse_instant
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.settings import SIMULATED_CLOCK
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS

SEED = 1


@contextmanager
def simulated_github(spec: RepoSpec, folder: Path) -> Iterator[dict[str, str]]:
    """A simulator serving the spec's repositories; yields the environment that points a collection at it.

    Its clock is remembered in `folder` for as long as the epoch runs: two collections see the same GitHub.
    Raises ConfigurationError where the simulator's packages are not installed.
    """
    try:
        from ledger_pipeline.sources.simulator.generated import generate_world
        from ledger_pipeline.sources.simulator.server import Simulator
    except ImportError as error:
        raise ConfigurationError("the simulator is an extra: install ledger-pipeline[local]") from error
    clock = _clock(spec, folder / SIMULATED_CLOCK)
    repositories = {
        source_ref: None for scope in spec.scopes for source in scope.sources for source_ref in source.source_refs
    }
    with Simulator(generate_world(SEED, clock, tuple(repositories)), as_of=clock) as github:
        yield {
            "GITHUB_API_URL": github.url,
            "GITHUB_TOKEN": "token-of-nobody",
            "GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS),
        }


def _clock(spec: RepoSpec, file: Path) -> datetime:
    now = datetime.now(UTC).replace(microsecond=0)
    if file.is_file():
        remembered = parse_instant(file.read_text())
        if spec.calendar.window_at(remembered) == spec.calendar.window_at(now):
            return remembered
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(now.isoformat())
    return now
