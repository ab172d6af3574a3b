"""`make simulate`: run seeds one after the other, and name the first that breaks a law."""

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import track

from ledger_pipeline_tests.simulation.run import simulate, stage_of_its_own
from ledger_pipeline_tests.simulation.several_scopes import simulate_scopes

LINE_EVERY = 100


def main(options: Sequence[str] | None = None) -> int:
    """Exit code 1 when a seed fails."""
    parser = argparse.ArgumentParser(prog="python -m ledger_pipeline_tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many seeds (200)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first of them (0)")
    parser.add_argument("--seed", type=int, metavar="N", help="this seed alone")
    arguments = parser.parse_args(options)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.seed is not None:
        seeds = range(arguments.seed, arguments.seed + 1)
    began = time.monotonic()
    with _quiet("github", "ledger_pipeline"), stage_of_its_own() as stage:
        for seed in _shown(seeds):
            try:
                simulate(seed, stage)
                simulate_scopes(seed, stage)
            except AssertionError as failure:
                print(failure, file=sys.stderr)
                return 1
    seconds = time.monotonic() - began
    print(f"{len(seeds)} seeds hold, {seconds / max(1, len(seeds)):.2f} s each")
    return 0


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Loggers that would warn of every fault we place, silent while inside and as they were afterwards."""
    before = [(logger, logger.level) for logger in map(logging.getLogger, names)]
    for logger, _ in before:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before:
            logger.setLevel(level)


def _shown(seeds: range) -> Iterable[int]:
    """The seeds, with a bar on a terminal and a line now and then elsewhere."""
    console = Console()
    if console.is_terminal:
        return track(seeds, description="seeds", console=console, transient=True)
    return _told(seeds)


def _told(seeds: Iterable[int]) -> Iterator[int]:
    for done, seed in enumerate(seeds):
        if done and done % LINE_EVERY == 0:
            print(f"{done} seeds done", flush=True)
        yield seed


if __name__ == "__main__":
    sys.exit(main())
