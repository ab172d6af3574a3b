"""Following every link of the public pages, as a browser would without ever running a script."""

from collections.abc import Iterable
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import requests

API = "/api/v1/public/attribution/epochs"


class Page(HTMLParser):
    """What a page consists of, as far as it could reach anything: its elements, links and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[dict[str, str]] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.add(tag)
        self.attributes |= given.keys()
        if "href" in given:
            self.links.append(given)


def asked(url: str, **headers: str) -> requests.Response:
    """An answer, to whatever address; redirects are answers too."""
    return requests.get(url, headers=headers, timeout=30, allow_redirects=False)


def crawled(site: str, more: Iterable[str] = ()) -> dict[str, requests.Response]:
    """Every answer that links lead to from the first page and from the paths `more`, by path and query."""
    answers: dict[str, requests.Response] = {}
    waiting = ["/", *more]
    while waiting:
        path = waiting.pop()
        if path in answers:
            continue
        answers[path] = asked(site + path)
        if answers[path].headers.get("content-type", "").startswith("text/html"):
            for link in Page(answers[path].text).links:
                address = urldefrag(urljoin(site + path, link["href"])).url
                if address.startswith(site):
                    place = urlsplit(address)
                    waiting.append(place.path + (f"?{place.query}" if place.query else ""))
    return answers


def api_paths(epoch_ids: Iterable[int]) -> list[str]:
    """The JSON routes of those epochs, and of the list of all."""
    return [
        API,
        f"{API}?limit=1&offset=1",
        *(f"{API}/{i}/{what}" for i in epoch_ids for what in ("statement", "claimants")),
    ]
