"""`ledger-pipeline simulate-github`: GitHub's API on this machine, from a recording or a seed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.options import instant
from ledger_pipeline.cli.output import say
from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.settings import ANY_CLOCK_SECONDS, read_settings


def command(
    data: Annotated[
        Path | None, typer.Option(help="A folder of pull_requests.jsonl, reviews.jsonl, issues.jsonl to serve.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen, on 127.0.0.1; 0 for any.")] = 8744,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="GitHub's clock stands still at this instant. Left out: a recording's last moment, or the real time.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which world to generate where no --data is given.")] = 1,
) -> None:
    """Serve GitHub's GraphQL API on 127.0.0.1, until interrupted: recorded data, or a world made from a seed."""
    try:
        from ledger_pipeline.sources.simulator.generated import generate_world
        from ledger_pipeline.sources.simulator.recorded import RecordingError, load_recording
        from ledger_pipeline.sources.simulator.server import serve
    except ImportError as error:
        raise ConfigurationError("the simulator is an extra: install ledger-pipeline[local]") from error
    at = instant(as_of)
    if data is not None:
        try:
            world = load_recording(data)
            # The recording knows nothing later: a clock that ran on would promise that nothing happened since.
            at = at or world.last_change
        except RecordingError as error:
            raise ConfigurationError(str(error)) from error
    else:
        repositories = read_settings().repo_spec().default_scope.sources[0].source_scopes
        world = generate_world(seed, at or datetime.now(UTC), repositories)

    def say_where(url: str) -> None:
        variables = {
            "GITHUB_API_URL": url,
            "GITHUB_TOKEN": "any",
            # Without a clock that stands still it has ours.
            **({} if at is None else {"GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS)}),
        }
        say(f"GitHub is simulated at {url}: export {' '.join(f'{name}={value}' for name, value in variables.items())}")

    serve(world, host="127.0.0.1", port=port, as_of=at, on_ready=say_where)
