"""`ledger-pipeline simulate-github`: GitHub's API on this machine, from a recording or a seed."""

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from ledger_pipeline.cli.options import instant
from ledger_pipeline.cli.output import note, say
from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.settings import read_settings
from ledger_pipeline.settings_variables import ANY_CLOCK_SECONDS


def command(
    data: Annotated[
        Path | None, typer.Option(help="A folder of pull_requests.jsonl, reviews.jsonl, issues.jsonl to serve.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for other machines and containers.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 for any.")] = 8744,
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="GitHub's clock stands still at this instant. Left out: a recording's last moment, or the real time.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which world to generate where no --data is given.")] = 1,
    delay_seconds: Annotated[float, typer.Option(min=0, help="How long each answer is kept back.")] = 0,
    bad_token: Annotated[
        list[str] | None,
        typer.Option(
            "--bad-token", metavar="TOKEN", help="Refuse this token, as GitHub refuses a revoked one; may be repeated."
        ),
    ] = None,
) -> None:
    """Serve GitHub's GraphQL API until interrupted: recorded data, or a world made from a seed."""
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
        repositories = read_settings().repo_spec().default_scope.sources[0].source_refs
        world = generate_world(seed, at or datetime.now(UTC), repositories)

    def say_where(url: str) -> None:
        variables = {
            "GITHUB_API_URL": url,
            "GITHUB_TOKEN": "any",
            # Without a clock that stands still it has ours.
            **({} if at is None else {"GITHUB_CLOCK_TOLERANCE_SECONDS": str(ANY_CLOCK_SECONDS)}),
        }
        say(f"GitHub is simulated at {url}: export {' '.join(f'{name}={value}' for name, value in variables.items())}")

    if not _is_loopback(host):
        note(f"warning: the simulator listens at {host}, so whoever reaches that port can ask it, with any token")
    try:
        serve(
            world,
            host=host,
            port=port,
            as_of=at,
            delay_seconds=delay_seconds,
            bad_tokens=bad_token or (),
            on_ready=say_where,
        )
    except OSError as error:
        raise ConfigurationError(f"cannot listen at {host}, port {port} (--host, --port): {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
