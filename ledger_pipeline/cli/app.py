"""The command `ledger-pipeline`: assembles the commands and turns errors into one line and an exit code.

0 ok; 1 the work failed; 2 bad usage or configuration.
"""

import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from types import FrameType

import typer

from ledger_pipeline.cli import (
    allocations,
    collect,
    curate,
    database,
    demo,
    develop,
    doctor,
    epoch,
    events,
    identities,
    pool,
    report,
    schedules,
    simulate,
    trigger,
    verify,
    webserver,
    worker,
)
from ledger_pipeline.cli.leaving import leave
from ledger_pipeline.cli.output import note, print_uncaught, say_error
from ledger_pipeline.core.errors import ConfigurationError, LedgerError, UnknownScope, WindowError
from ledger_pipeline.logs import log_to_stderr

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
app.add_typer(schedules.app, name="schedules")
app.command("collect")(collect.command)
app.command("events")(events.command)
app.command("report")(report.command)
app.add_typer(identities.app, name="identities")
app.command("curate")(curate.command)
app.add_typer(allocations.app, name="allocations")
app.add_typer(pool.app, name="pool")
app.add_typer(epoch.app, name="epoch")
app.command("verify")(verify.command)
app.command("export")(verify.export)
app.command("trigger")(trigger.command)
app.command("doctor")(doctor.command)
app.command("worker")(worker.command)
app.command("webserver")(webserver.command)
app.command("simulate-github")(simulate.command)
app.command("demo")(demo.command)
app.command("dev")(develop.command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own where None) and return its exit code."""
    try:
        # Standing alone, Typer would print bad usage itself, with whatever the arguments hold.
        code = app(args=arguments, standalone_mode=False)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else FAILED
    except typer.TyperException as error:
        _say_usage(error)
        return BAD_USAGE
    except (ConfigurationError, WindowError, UnknownScope) as error:
        say_error(str(error))
        return BAD_USAGE
    except LedgerError as error:
        say_error(str(error))
        return FAILED
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script. SIGTERM unwinds as Ctrl-C does, so that what was started here is stopped.

    Ctrl-C is heard although whoever started us ignores it, as a shell does for what it starts in the background.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal's encoding lacks a character
    sys.excepthook = print_uncaught
    log_to_stderr()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    leave(run())


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _say_usage(error: typer.TyperException) -> None:
    message = error.format_message()
    if not message:
        return  # no arguments at all: the help was printed
    if (context := getattr(error, "ctx", None)) is not None:
        note(context.get_usage())
        note(f"Try '{context.command_path} {context.help_option_names[0]}' for help.")
    say_error(message)
