"""The command `ledger-pipeline`: assembles the commands and turns errors into one line and an exit code.

0 ok; 1 the work failed; 2 bad usage or configuration.
"""

import sys
from collections.abc import Sequence

import typer

from ledger_pipeline.cli import collect, database, demo, develop, events, simulate
from ledger_pipeline.cli.output import errors
from ledger_pipeline.core.errors import ConfigurationError, LedgerError, UnknownScope, WindowError

FAILED = 1
BAD_USAGE = 2

app = typer.Typer(
    name="ledger-pipeline",
    help="A DAO's GitHub activity in an append-only ledger, one Dagster partition per epoch and scope.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(database.app, name="db")
app.command("collect")(collect.command)
app.command("events")(events.command)
app.command("simulate-github")(simulate.command)
app.command("demo")(demo.command)
app.command("dev")(develop.command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own where None) and return its exit code."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return FAILED
    except (ConfigurationError, WindowError, UnknownScope) as error:
        errors.print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True)
        return BAD_USAGE
    except LedgerError as error:
        errors.print(f"[bold red]error:[/] {_plain(error)}", soft_wrap=True)
        return FAILED
    except typer.main.click.ClickException as error:  # type: ignore[attr-defined]
        error.show()
        return int(error.exit_code)
    return int(code or 0)


def main() -> None:
    """The console script."""
    sys.exit(run())


def _plain(error: Exception) -> str:
    # An error quotes what people wrote, and [brackets] in it are not markup.
    return str(error).replace("[", r"\[")
