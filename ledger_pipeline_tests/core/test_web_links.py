"""Only addresses of the web that read as they are become links."""

import pytest

from ledger_pipeline.core.web_links import is_linkable


@pytest.mark.parametrize("url", ["https://github.com/a/b/pull/1", "http://127.0.0.1:3000/runs/1?x=%20#y"])
def test_an_address_of_the_web_is_a_link(url: str) -> None:
    assert is_linkable(url)


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "JavaScript://x/%0aalert(1)", "data:text/html,x", "file:///etc/passwd", "vbscript:x"),
        *("", "//evil.example/x", "https://", "https:x", "http://[x", "github.com/a"),
        *("https://x.example/\u202egnp", "https://x.example/\n", " https://x.example", "https://x.example/a b\x7f"),
    ],
)
def test_nothing_else_is(url: str) -> None:
    assert not is_linkable(url)
