"""Which addresses from outside are shown as links: somebody will follow them."""

from urllib.parse import urlsplit

from ledger_pipeline.core.plain_text import plain_text


def is_linkable(url: str) -> bool:
    """Whether `url` is http or https, names a host, and reads as it is: nothing in it is hidden or escaped."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and plain_text(url) == url
    except ValueError:
        return False
