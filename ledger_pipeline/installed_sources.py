"""Sources that a DAO installs beside ours, as entry points that name their SourceKind:

    [project.entry-points."ledger_pipeline.sources"]
    chat = "acme_chat.source:CHAT"

Core knows sources and imports nobody's: they are made known to it from here, when a process first reads of one in a
repo-spec or an archive. So whoever has none installed pays nothing for them, and a broken one that nobody names is left
alone. Only `db upgrade` looks at all there are: the database refuses events of sources that it was not told of.
"""

from collections.abc import Iterable
from dataclasses import fields

from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.core.sources import SourceKind, find_source_kind, register
from ledger_pipeline.plugins import installed_names, installed_plugin

GROUP = "ledger_pipeline.sources"

_MEMBERS = [field.name for field in fields(SourceKind)]


def know_installed(names: Iterable[str]) -> None:
    """Make those of `names` known to this process that are no source of it yet, and that somebody has installed.

    Raises ConfigurationError for one that cannot be loaded, is no SourceKind, or has a name that another source has.
    """
    unknown = {name for name in names if find_source_kind(name) is None}
    # Whatever an archive holds, nothing is looked for that is not there.
    for name in sorted(unknown & installed_names(GROUP)) if unknown else ():
        plugin = installed_plugin(GROUP, name, "source", _MEMBERS, ConfigurationError)
        if plugin is not None:
            register(plugin.member)


def know_all_installed() -> None:
    """The same for all that is installed."""
    know_installed(installed_names(GROUP))
