"""An event, window or epoch in one line; say only what the test is about."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from ledger_pipeline.core.events import (
    ActivityEvent,
    Actor,
    SkippedActivity,
    issue_closed,
    pull_request_merged,
    review_submitted,
)
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.sources import GITHUB, GITHUB_STREAMS, PULL_REQUEST, PULL_REQUESTS
from ledger_pipeline.core.spec import Scope, SourceSpec
from ledger_pipeline.core.unread import ItemKey, UnreadItem
from ledger_pipeline.core.weights import default_weights_milli
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch, EpochStatus, Producer
from ledger_pipeline.store.scan_records import (
    Checkpoint,
    Cursor,
    PageContent,
    Receipt,
)

NODE_ID = UUID("4ff8eac1-4eba-4ed0-931b-b1fe4f64713d")
SCOPE_ID = UUID("4ff8eac1-0000-0000-0000-000000000001")
OTHER_SCOPE_ID = UUID("4ff8eac1-0000-0000-0000-000000000002")
REPO = "cogni-dao/cogni"
ADA = Actor(user_id=583231, login="ada")
GRACE = Actor(user_id=1024025, login="grace")
PRODUCER = Producer(name="ledger_pipeline", version="0.1.0")
DEFAULT_WEIGHTS_MILLI = default_weights_milli([GITHUB])
NOON = "2026-02-17T12:00:00Z"  # a Tuesday, in the week of `window()`


def window(first_day: str = "2026-02-16", days: int = 7) -> EpochWindow:
    """The epoch window of `days` that starts on `first_day`; the default starts on a Monday."""
    return EpochCalendar(days).window_starting(date.fromisoformat(first_day))


def weeks(count: int, first_day: str = "2026-02-16") -> list[EpochWindow]:
    """`count` weekly windows in a row, oldest first."""
    first = window(first_day).start
    return [EpochWindow(first + n * timedelta(7), first + (n + 1) * timedelta(7)) for n in range(count)]


def instant(text: str) -> datetime:
    """`2026-02-17` or `2026-02-17T12:00` as an aware UTC instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def pull_request(
    number: int = 1, *, at: str = NOON, author: Actor = ADA, repo: str = REPO, object_id: str = "", **details: Json
) -> ActivityEvent:
    """A merged pull request. Its object id follows from its number alone, so a renamed `repo` keeps it."""
    return pull_request_merged(
        repo=repo,
        number=number,
        author=author,
        merged_at=at,
        object_id=object_id or str(2_000_000_000 + number),
        url=f"https://github.com/{repo}/pull/{number}",
        details={"title": f"Change {number}", **details},
    )


def review(
    number: int = 1,
    *,
    at: str = NOON,
    author: Actor = GRACE,
    repo: str = REPO,
    object_id: str = "",
    state: str = "APPROVED",
    **details: Json,
) -> ActivityEvent:
    """A review of pull request `number`, with an id too large for 32 bits."""
    review_id = object_id or str(3_000_000_000 + number)
    return review_submitted(
        repo=repo,
        number=number,
        author=author,
        state=state,
        submitted_at=at,
        object_id=review_id,
        url=f"https://github.com/{repo}/pull/{number}#pullrequestreview-{review_id}",
        details=dict(details),
    )


def issue(
    number: int = 1, *, at: str = NOON, author: Actor = ADA, repo: str = REPO, object_id: str = "", **details: Json
) -> ActivityEvent:
    """A closed issue, for its author."""
    return issue_closed(
        repo=repo,
        number=number,
        author=author,
        closed_at=at,
        object_id=object_id or str(1_000_000_000 + number),
        url=f"https://github.com/{repo}/issues/{number}",
        details={"title": f"Problem {number}", **details},
    )


def epoch(
    window_: EpochWindow | None = None,
    *,
    epoch_id: int = 1,
    scope_id: UUID = SCOPE_ID,
    status: EpochStatus = EpochStatus.OPEN,
    weights_milli: Mapping[str, int] = DEFAULT_WEIGHTS_MILLI,
) -> Epoch:
    """An epoch as a store would answer it."""
    return Epoch(epoch_id, scope_id, window_ or window(), status, weights_milli)


def cursor(
    watermark: str | datetime,
    covered_from: str | datetime | None = "2026-01-05",
    *,
    stream: str = PULL_REQUESTS,
    source_scope: str = REPO,
) -> Cursor:
    """A finished scan of a GitHub stream, covering `[covered_from, watermark]`."""
    since = None if covered_from is None else _instant(covered_from)
    return Cursor("github", stream, source_scope, _instant(watermark), since)


def _instant(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else instant(value)


def scope(
    *source_scopes: str,
    scope_key: str = "default",
    scope_id: UUID = SCOPE_ID,
    streams: tuple[str, ...] = GITHUB_STREAMS,
    length_days: int = 7,
    first_epoch: str = "2026-01-05",
    approvers: tuple[str, ...] = (),
    base_issuance_credits: int | None = None,
    weights_milli: Mapping[str, int] = DEFAULT_WEIGHTS_MILLI,
    chain_id: int | None = None,
    approval_threshold: int = 1,
) -> Scope:
    """A scope that collects `source_scopes` (REPO where none is named) from GitHub."""
    return Scope(
        scope_id=scope_id,
        scope_key=scope_key,
        epoch_length_days=length_days,
        first_epoch=date.fromisoformat(first_epoch),
        sources=(SourceSpec(GITHUB, "cogni-v0.0", source_scopes or (REPO,), streams),),
        approvers=approvers,
        base_issuance_credits=base_issuance_credits,
        auto_close_grace_hours=24,
        weights_milli=weights_milli,
        schedules=(),
        file="repo-spec.yaml",
        chain_id=chain_id,
        approval_threshold=approval_threshold,
    )


def skipped(event: ActivityEvent | None = None, reason: str = "bot", *, source_scope: str = REPO) -> SkippedActivity:
    """What is left of `event` (a pull request where none is given) when it counts for nobody."""
    item = event or pull_request()
    return SkippedActivity(
        event_id=item.id,
        source=item.source,
        stream=item.stream,
        source_scope=source_scope,
        event_type=item.event_type,
        reason=reason,
        event_time=item.event_time,
    )


def receipt(
    covered_to: str | datetime = "2026-02-24",
    covered_from: str | datetime = "2026-02-16",
    *,
    of: EpochWindow | None = None,
    stream: str = PULL_REQUESTS,
    source_scope: str = REPO,
    name: str = "",
    pages: int = 1,
    seen: int = 0,
    skipped_by_reason: Mapping[str, int] | None = None,
    updated: tuple[str | datetime, str | datetime] | None = None,
    source_total: int | None = None,
) -> Receipt:
    """A finished scan's receipt for the window `of`, the week of `window()` where none is given."""
    first, last = (None, None) if updated is None else map(_instant, updated)
    return Receipt(
        window=of or window(),
        source=GITHUB,
        stream=stream,
        source_scope=source_scope,
        source_scope_name=name or source_scope,
        covered_from=_instant(covered_from),
        covered_to=_instant(covered_to),
        pages=pages,
        seen=seen,
        skipped_by_reason=skipped_by_reason or {},
        first_updated_at=first,
        last_updated_at=last,
        source_total=source_total,
    )


def checkpoint(
    watermark: str | datetime = "2026-02-17",
    *,
    source_scope: str = REPO,
    saved_at: str | datetime | None = None,
    **state: Json,
) -> Checkpoint:
    """Where an unfinished scan of a GitHub source_scope stands; `state` is the scan's own, of which the ledger knows
    nothing."""
    kept = state or {"pages": 1}
    return Checkpoint(GITHUB, source_scope, _instant(watermark), _instant(saved_at or watermark), kept)


def save_checkpoint(ledger: PostgresLedger, scope_id: UUID, saved: Checkpoint) -> None:
    """Have the ledger hold `saved`, as a page without anything on it does."""
    page = PageContent(saved.source, saved.source_scope, PRODUCER, saved.saved_at, checkpoint=saved)
    ledger.scans.store_page(scope_id, page)


def unread(
    number: int = 12,
    *,
    kind: str = PULL_REQUEST,
    earliest: str | datetime | None = "2026-02-16",
    latest: str | datetime = "2026-02-18",
    reason: str = "its author is nobody",
) -> UnreadItem:
    """A pull request (or an ISSUE) that cannot be read."""
    since = None if earliest is None else _instant(earliest)
    return UnreadItem(ItemKey(kind, number), reason, since, _instant(latest))


def note_unread(
    ledger: PostgresLedger,
    *items: UnreadItem,
    settled: Iterable[ItemKey] = (),
    at: str | datetime = "2026-02-18",
    source_scope: str = REPO,
    read_from: str | datetime = "2026-02-16",
) -> None:
    """What a page of a scan from `read_from` on said at `at` of items that cannot be read."""
    ledger.unread.note(
        SCOPE_ID,
        GITHUB,
        source_scope,
        unread=items,
        settled=tuple(settled),
        tried_at=_instant(at),
        read_from=_instant(read_from),
    )
