"""The command `ledger-pipeline`: finds the commands and turns errors into one line and an exit code.

0 ok; 1 the work failed; 2 bad usage or configuration; 130 interrupted by Ctrl-C.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import cleandoc
from io import TextIOWrapper
from types import FrameType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from ledger_pipeline.cli.console import INTERRUPTED
from ledger_pipeline.cli.leaving import leave
from ledger_pipeline.cli.output import note, print_uncaught, say_error
from ledger_pipeline.core.errors import ConfigurationError, LedgerError, UnknownScope, WindowError
from ledger_pipeline.logs import log_to_stderr

FAILED = 1
BAD_USAGE = 2

# After that long an interruption that got lost comes again.
_AGAIN_SECONDS = 0.05

# The module of each command in `cli`, what it is there (a function, or `app` where it has commands of its own), and
# the first sentence of its help: `--help` imports none of them.
COMMANDS = {
    "collect": (
        "collect",
        "command",
        "Collect epochs from GitHub into the ledger, as one Dagster run; the running epoch where none is named.",
    ),
    "events": (
        "events",
        "command",
        "Print the ledger's events of an epoch or a range of them; of the running epoch where none is named.",
    ),
    "report": (
        "report",
        "command",
        "Write an epoch as one HTML page for its approvers, or with --all an index over all epochs.",
    ),
    "curate": (
        "curate",
        "command",
        "Include, exclude or reweigh one event of an epoch that is not finalized, and propose its allocations anew.",
    ),
    "verify": (
        "verify",
        "command",
        "Recompute a finalized epoch from its rows, events to signature; every difference is listed, exit 1 on any.",
    ),
    "export": (
        "export",
        "command",
        "Write a finalized epoch as one archive that anybody can verify with no database and no network.",
    ),
    "holdings": (
        "holdings",
        "command",
        "Print who holds how many credits of all statements in force, and what is reserved for accounts nobody linked.",
    ),
    "trigger": (
        "trigger",
        "command",
        "Start a collection through Temporal, as a schedule would; attaches to one in progress for the same epoch.",
    ),
    "doctor": (
        "doctor",
        "command",
        "Check repo-spec, database, rights, Temporal, worker, Dagster, GitHub and clocks; say what to do. "
        "Changes nothing.",
    ),
    "settings": (
        "settings",
        "command",
        "Print every variable that a deployment may set: what it is, its default, and whether it is set here.",
    ),
    "worker": (
        "worker",
        "command",
        "Run the Temporal worker on the queue `ledger-tasks` until SIGTERM or Ctrl-C, then let its activities finish.",
    ),
    "webserver": (
        "webserver",
        "command",
        "Serve Dagster's web UI until SIGTERM or Ctrl-C, in place of `dagster-webserver`.",
    ),
    "serve": (
        "serve",
        "command",
        "Serve public pages and JSON of what finalized epochs paid and why, until SIGTERM or Ctrl-C.",
    ),
    "simulate": (
        "simulate",
        "command",
        "Show who would have what under another selection policy or other weights; the ledger is only read.",
    ),
    "simulate-github": (
        "simulate_github",
        "command",
        "Serve GitHub's GraphQL API until interrupted: recorded data, or a world made from a seed.",
    ),
    "demo": (
        "demo",
        "command",
        "Have a Temporal schedule collect the running epoch of a simulated GitHub, backfill all before, sign one.",
    ),
    "dev": (
        "develop",
        "command",
        "Run Postgres, Temporal, Dagster and the worker until interrupted; GitHub is simulated without credentials.",
    ),
    "facts": ("facts", "app", "What sources say of events beside their rows."),
    "db": ("database", "app", "The ledger's database."),
    "schedules": ("schedules", "app", "The Temporal schedules that start collections."),
    "identities": ("identities", "app", "Which account belongs to which user of the DAO."),
    "allocations": ("allocations", "app", "Units per user of an epoch."),
    "overrides": ("overrides", "app", "What single events are worth, and to whom, where a person decides it."),
    "pool": ("pool", "app", "The credits an epoch shares out."),
    "wallets": ("wallets", "app", "Where claimants' tokens are sent."),
    "distribution": ("distribution", "app", "Statements as tokens that everybody claims with a proof."),
    "epoch": ("epoch", "app", "The life of an epoch, from open to its signed statement."),
}


class _Interrupted(Exception):
    """Ctrl-C, where Typer would turn it into an exit code that a command may have given."""


@contextmanager
def _saying_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise _Interrupted from error


class Commands(TyperGroup):
    """Imports a command's module when the command is called: none waits for what only another needs."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """What the arguments ask for. Raises _Interrupted where Ctrl-C ended it."""
        with _saying_interrupted():
            return super().make_context(*arguments, **options)

    def invoke(self, context: Any) -> Any:
        """Run the command that the arguments name. Raises _Interrupted where Ctrl-C ended it."""
        with _saying_interrupted():
            return super().invoke(context)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, in full, and the arguments that are left for it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command_named(name) if name in COMMANDS else command, rest


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """Modules stay until the end: while they are imported, looking for what may go takes a tenth of the time."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def command_named(name: str) -> Any:
    """The Typer command or group of that name in COMMANDS, with its options and its whole help."""
    module_name, attribute, _ = COMMANDS[name]
    with _no_search_for_cycles():
        member = getattr(import_module(f"ledger_pipeline.cli.{module_name}"), attribute)
    parent = typer.Typer(pretty_exceptions_enable=False)
    if isinstance(member, typer.Typer):
        parent.add_typer(member, name=name)
    else:
        parent.command(name)(member)
    command = get_group(parent).commands[name]
    for documented in (command, *getattr(command, "commands", {}).values()):
        documented.help = _flowing(documented.help or "")
    return command


def _flowing(help_text: str) -> str:
    """Paragraphs of one line each: Typer breaks all but the first of them where their source does."""
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in cleandoc(help_text).split("\n\n"))


app = Commands(
    name="ledger-pipeline",
    help="A DAO's GitHub activity in an append-only ledger, one Dagster partition per epoch and scope.",
    commands={name: TyperCommand(name, help=help_text) for name, (_, _, help_text) in COMMANDS.items()},
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own where None) and return its exit code."""
    try:
        # Standing alone, Typer would print bad usage itself, with whatever the arguments hold.
        code = app.main(arguments, standalone_mode=False)
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
    except (_Interrupted, KeyboardInterrupt):
        say_error("interrupted")
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def main() -> None:
    """The console script. SIGTERM unwinds as Ctrl-C does, so that what was started here is stopped.

    Ctrl-C is heard although whoever started us ignores it, as a shell does for what it starts in the background.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal's encoding lacks a character
    sys.excepthook = print_uncaught
    sys.unraisablehook = _again_if_interrupted
    log_to_stderr()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    leave(run())


def _again_if_interrupted(lost: Any) -> None:
    """A `sys.unraisablehook`: Ctrl-C or SIGTERM that came where Python ignores exceptions comes again a moment later.

    That is where objects are taken apart, which making Dagster's tables does for seconds.
    """
    if issubclass(lost.exc_type, KeyboardInterrupt | SystemExit):
        number = signal.SIGINT if issubclass(lost.exc_type, KeyboardInterrupt) else signal.SIGTERM
        again = threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)


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
