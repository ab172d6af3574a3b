"""What counts as a reason: text of which something can be seen. The database has the same rule (`ledger_is_reason`)."""

import re

from ledger_pipeline.core.identifiers import FORBIDDEN

COLON = (0x3A, 0x3A)
_SHOWS_NOTHING = [*(pair for pair in FORBIDDEN if pair != COLON), (0x20, 0x20)]
_VISIBLE = re.compile(
    f"[^{''.join(f'{re.escape(chr(first))}-{re.escape(chr(last))}' for first, last in _SHOWS_NOTHING)}]"
)


def is_reason(text: str | None) -> bool:
    """Whether a person who reads `text` sees anything: no reason is of spaces, line feeds and invisible characters."""
    return text is not None and _VISIBLE.search(text) is not None
