"""The sources that the ledger knows: of each, all that is asked of it without opening it.

A further source is a folder under `sources/` and one entry in SOURCES, or is installed beside us: what installs it
tells of it with `register` (`installed_sources.py`). The entry stands here and not in that folder,
because core hashes events and imports nothing from there. It is data alone: `opened_by` names the function that opens
the source, which `sources/registry.py` looks up when somebody reads. So no two lists have to be kept in step, and
whoever only asks for names and weights loads no client of any source.

Names of streams, event types and kinds of items travel without their source, over the wire, in metadata and in tallies:
each is of one source.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from ledger_pipeline.core.errors import ConfigurationError

GITHUB = "github"

PULL_REQUESTS = "pull_requests"
REVIEWS = "reviews"
ISSUES = "issues"
GITHUB_STREAMS = (PULL_REQUESTS, REVIEWS, ISSUES)

PR_MERGED = "pr_merged"
REVIEW_SUBMITTED = "review_submitted"
ISSUE_CLOSED = "issue_closed"

PULL_REQUEST = "pull_request"
ISSUE = "issue"

_REPOSITORY = "[!-.0-9;-~]+/[!-.0-9;-~]+"  # printable ASCII but for the slash and the colon, which separate


@dataclass(frozen=True)
class StreamKind:
    """One stream of a source: the type of its events, what their payload hash is of, and what they weigh.

    `hashed_metadata` are the metadata keys whose values, with the author and the event's id, make up the payload hash;
    the value of the last one is the instant of the event, as the source wrote it. `item_kind` is the kind of item that
    the source lists and that events of the stream come from; `event_id` is what the id of an event looks like, a
    regular expression that Python and Postgres read alike; `describes_rows` says what one event is, as a sentence.
    """

    name: str
    event_type: str
    hashed_metadata: tuple[str, ...]
    default_weight_milli: int
    item_kind: str
    event_id: str
    describes_rows: str


@dataclass(frozen=True)
class SourceKind:
    """A source as the ledger knows it; `title` is what people call it.

    `streams` are in the order in which people see them; of those with one `item_kind`, the first is the one whose items
    the source counts. `source_ref` is what names one part of it in the repo-spec, which `source_ref_form` says in
    words; `owner_ref` is what stands there for all that an owner has, None where the source lists no owner's. Where it
    `has_numeric_accounts`, an account is its numeric id. `producer` is who writes its events. `opened_by` is the dotted
    path, as `package.module:function`, of what opens it: `sources/registry.py` has the signature.
    """

    name: str
    title: str
    streams: tuple[StreamKind, ...]
    source_ref: re.Pattern[str]
    source_ref_form: str
    producer: str
    opened_by: str
    has_numeric_accounts: bool = False
    owner_ref: re.Pattern[str] | None = None

    @property
    def stream_names(self) -> tuple[str, ...]:
        """The names of its streams, in their order."""
        return tuple(stream.name for stream in self.streams)

    @property
    def default_weights_milli(self) -> dict[str, int]:
        """What each type of its events weighs where the repo-spec does not say, by `source:event_type`."""
        return {f"{self.name}:{stream.event_type}": stream.default_weight_milli for stream in self.streams}


SOURCES: tuple[SourceKind, ...] = (
    SourceKind(
        name=GITHUB,
        title="GitHub",
        # The system we join has these names, hashes and weights: they never change.
        streams=(
            StreamKind(
                PULL_REQUESTS,
                PR_MERGED,
                ("mergedAt",),
                1000,
                PULL_REQUEST,
                f"^github:pr:{_REPOSITORY}:[1-9][0-9]*$",
                "A row is a merged pull request, counted for its author at the moment of the merge.",
            ),
            # A pull request that cannot be read hides its reviews with it.
            StreamKind(
                REVIEWS,
                REVIEW_SUBMITTED,
                ("state", "submittedAt"),
                500,
                PULL_REQUEST,
                f"^github:review:{_REPOSITORY}:[1-9][0-9]*:[1-9][0-9]*$",
                "A row is a submitted review, of a merged pull request or not, counted for the reviewer.",
            ),
            StreamKind(
                ISSUES,
                ISSUE_CLOSED,
                ("closedAt",),
                300,
                ISSUE,
                f"^github:issue:{_REPOSITORY}:[1-9][0-9]*$",
                "A row is a closed issue, counted for its author at the moment it was closed.",
            ),
        ),
        # Only what cannot be a name is refused: which names there are, GitHub says. Managed users have an underscore.
        source_ref=re.compile(r"[A-Za-z0-9_-]{1,100}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}"),
        source_ref_form="owner/repo, as cogni-dao/ledger, or owner/* for all repositories of an owner",
        has_numeric_accounts=True,
        producer="ledger-pipeline/github",
        opened_by="ledger_pipeline.sources.github.source:open_github",
        owner_ref=re.compile(r"[A-Za-z0-9_-]{1,100}/\*"),
    ),
)


class _Registry:
    """The sources of this process, and their streams by each name that somebody has of them."""

    def __init__(self, kinds: tuple[SourceKind, ...]) -> None:
        self.kinds = {kind.name: kind for kind in kinds}
        streams = [stream for kind in kinds for stream in kind.streams]
        self.by_name = {stream.name: stream for stream in streams}
        self.by_event_type = {stream.event_type: stream for stream in streams}
        self.by_item_kind: dict[str, tuple[StreamKind, ...]] = {}
        for stream in streams:
            self.by_item_kind[stream.item_kind] = (*self.by_item_kind.get(stream.item_kind, ()), stream)
        self.source_of = {stream.name: kind.name for kind in kinds for stream in kind.streams}


_registry = _Registry(SOURCES)


def register(kind: SourceKind) -> None:
    """From now on `kind` is one of the sources, in every thread; for who brings a source that SOURCES does not have.

    Safe to repeat. Raises ConfigurationError where another source has its name, or that of one of its streams, event
    types or items.
    """
    global _registry  # one for all threads, replaced as a whole
    if _registry.kinds.get(kind.name) == kind:
        return
    for what, taken, names in (
        ("name", _registry.kinds, [kind.name]),
        ("stream", _registry.by_name, [stream.name for stream in kind.streams]),
        ("event type", _registry.by_event_type, [stream.event_type for stream in kind.streams]),
        ("kind of items", _registry.by_item_kind, [stream.item_kind for stream in kind.streams]),
    ):
        for name in names:
            if name in taken:
                raise ConfigurationError(f"source {kind.name!r} is refused: another source has its {what} {name!r}")
    _registry = _Registry((*_registry.kinds.values(), kind))


@contextmanager
def registered(kind: SourceKind) -> Iterator[None]:
    """Within, `kind` is one of the sources. Raises as `register` does."""
    global _registry
    register(kind)
    try:
        yield
    finally:
        _registry = _Registry(tuple(other_kind for other_kind in _registry.kinds.values() if other_kind != kind))


def source_kinds() -> tuple[SourceKind, ...]:
    """All sources, in the order in which people see them."""
    return tuple(_registry.kinds.values())


def find_source_kind(name: str) -> SourceKind | None:
    """The source called `name`; None where there is none."""
    return _registry.kinds.get(name)


def source_kind(name: str) -> SourceKind:
    """The source called `name`. Raises ConfigurationError naming those there are."""
    kind = find_source_kind(name)
    if kind is None:
        raise ConfigurationError(f"{name!r} is no source of this ledger: {', '.join(_registry.kinds)}")
    return kind


def streams_by_name() -> Mapping[str, StreamKind]:
    """Every stream of every source, by its name."""
    return _registry.by_name


def streams_by_event_type() -> Mapping[str, StreamKind]:
    """Every stream of every source, by the type of its events."""
    return _registry.by_event_type


def streams_by_item_kind() -> Mapping[str, tuple[StreamKind, ...]]:
    """The streams that come from each kind of item, the one that the source counts first."""
    return _registry.by_item_kind


def source_of_stream(stream: str) -> str:
    """The name of the source that has the stream of that name. Raises KeyError where none has."""
    return _registry.source_of[stream]
