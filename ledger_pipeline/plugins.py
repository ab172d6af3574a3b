"""What a DAO installs beside us as entry points: found by group and name, and loaded only where somebody names it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.core.plain_text import quoted, short_message


@dataclass(frozen=True)
class Plugin:
    """What an entry point names, and the distribution that it is installed with."""

    member: Any
    distribution: str
    distribution_version: str


def installed_plugin(
    group: str, name: str, what: str, members: Sequence[str], refusal: type[ConfigurationError]
) -> Plugin | None:
    """The object that is installed in `group` under `name`, which has all `members`; None where nothing is.

    Raises `refusal`, which calls it `what`, for one of several distributions, one that cannot be loaded or lacks a
    member, and one whose own `name` is another.
    """
    offered = {_distribution(entry): entry for entry in entry_points(group=group, name=name)}
    if not offered:
        return None
    if len(offered) > 1:
        several = short_message(", ".join(sorted(of for of, _ in offered)))
        raise refusal(f"{what} {quoted(name)} is installed by several distributions: {several}")
    [((distribution, distribution_version), entry)] = offered.items()
    described = f"{what} {quoted(name)} of {short_message(distribution)}"
    try:
        member = entry.load()
    except Exception as error:
        problem = short_message(f"{type(error).__name__}: {error}")
        raise refusal(f"{described} cannot be loaded: {problem}") from error
    lacking = [wanted for wanted in members if not hasattr(member, wanted)]
    if lacking:
        raise refusal(f"{described} is no {what}: it lacks {', '.join(lacking)}")
    if member.name != name:
        raise refusal(f"{described} calls itself {quoted(str(member.name))}")
    return Plugin(member, distribution, distribution_version)


def installed_names(group: str) -> set[str]:
    """The names under which something is installed in `group`."""
    return set(entry_points(group=group).names)


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return ("unknown", "unknown") if entry.dist is None else (entry.dist.name, entry.dist.version)
