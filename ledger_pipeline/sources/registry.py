"""How a source is opened: its entry in `core/sources.py` names the function that does it."""

from contextlib import AbstractContextManager
from pkgutil import resolve_name
from typing import Protocol, cast

from ledger_pipeline.core.sources import source_kind
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.port import ActivitySource
from ledger_pipeline.sources.stopping import StopSignal


class OpenSource(Protocol):
    """The function that a source's `opened_by` names."""

    def __call__(
        self, settings: Settings, page_size: int | None = None, stop: StopSignal | None = None
    ) -> AbstractContextManager[ActivitySource]:
        """The source as `settings` say; what it holds is given back at the end.

        Its pages have at most `page_size` items where that is given. Nothing is asked of the source yet, and nothing
        any more once `stop` is told. Entering raises SettingsError where the settings do not suffice to open it.
        """
        ...


def open_source(
    settings: Settings, name: str, page_size: int | None = None, stop: StopSignal | None = None
) -> AbstractContextManager[ActivitySource]:
    """The source called `name`, as OpenSource promises; what it needs is imported now.

    Raises ConfigurationError where there is no such source.
    """
    opened_by = cast("OpenSource", resolve_name(source_kind(name).opened_by))
    return opened_by(settings, page_size, stop)
