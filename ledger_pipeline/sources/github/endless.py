"""The end of pages that lead nowhere: a server that answers nonsense must not be asked for ever."""

from collections.abc import Iterable

from ledger_pipeline.sources.github.payloads import PageInfo

IDLE_PAGES = 5
"""So many pages in a row may hold nothing that was not there before."""
UNREADABLE_PAGES = 105
"""So many, where each of them holds an item that nobody can tell from another: more than a scan passes of such."""


class LeadsNowhere(ValueError):
    """Pages that say there is more and do not move on; the message names what they are pages of, and the cursor."""


class Advance:
    """Sees to it that the pages of one connection, `what`, move on: no cursor comes twice, and new items come."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._cursors: set[str] = set()
        self._ids: set[int | str] = set()
        self._idle_pages = 0

    def begin_at(self, cursor: str | None) -> None:
        """The first page was asked for behind this cursor."""
        if cursor is not None:
            self._cursors.add(cursor)

    def check(self, ids: Iterable[int | str], info: PageInfo, *, has_unreadable: bool = False) -> None:
        """Having read a page that holds `ids`, and maybe items without one.

        Raises LeadsNowhere where the page behind it is not to be asked for.
        """
        new = set(ids) - self._ids
        self._ids |= new
        self._idle_pages = 0 if new else self._idle_pages + 1
        if not info.has_next_page:
            return
        if info.end_cursor is None or info.end_cursor in self._cursors:
            raise LeadsNowhere(
                f"a page of {self._what} says there is more, and its cursor does not move on: {info.end_cursor}"
            )
        if self._idle_pages >= (UNREADABLE_PAGES if has_unreadable else IDLE_PAGES):
            raise LeadsNowhere(
                f"{self._idle_pages} pages of {self._what} in a row hold nothing new, and say there is more behind "
                f"cursor {info.end_cursor}"
            )
        self._cursors.add(info.end_cursor)
