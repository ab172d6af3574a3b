"""The public pages: what each says, gathered from publications. No HTML here, and no SQL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.status import HTTP_404_NOT_FOUND

from ledger_pipeline.core.allocations import CuratedEvents, event_kind
from ledger_pipeline.core.claimants import key_of_set_hash_key
from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.routing import code_of
from ledger_pipeline.core.selection.choice import SelectionChoice, pinned_choice
from ledger_pipeline.pipeline.publication import Line, Publication, PublishedEpoch
from ledger_pipeline.pipeline.selection import reason_sentences
from ledger_pipeline.store.published_records import ClaimedCount, ClaimedEvent
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.web.public.answers import FOREVER, HTML, Problem, answer
from ledger_pipeline.web.public.asked import PageOf, claimant_asked, epoch_asked, scope_asked, shelf_of
from ledger_pipeline.web.public.drawing import Amounts, chart
from ledger_pipeline.web.public.rendering import rendered

CHARTED = 104


@dataclass(frozen=True)
class EpochOfClaimant:
    """What a claimant has of one epoch, what they had by its end, and how many of their events count."""

    published: PublishedEpoch
    line: Line | None
    running_credits: int
    count: ClaimedCount


@dataclass(frozen=True)
class ExplainedEvent:
    """An event of a claimant, its units, and in words why it has these."""

    event: ClaimedEvent
    units_milli: int
    kind: str
    weighed: str
    because: str


def epochs_page(request: Request) -> Response:
    """All finalized epochs of a scope, newest first."""
    scope = scope_asked(request)
    shown = shelf_of(request).of(scope)
    page = PageOf(request, len(shown.epochs))
    running = scope.calendar.window_at(request.app.state.now())
    drawn = [
        Amounts(
            published.epoch.window.key, published.pool_credits - published.reserved_credits, published.reserved_credits
        )
        for published in reversed(shown.epochs[:CHARTED])
    ]
    return _page(
        request, shown, "epochs.html.j2", rows=shown.epochs[page.start : page.stop], page=page, running=running,
        chart=chart(drawn), charted=len(drawn),
    )  # fmt: skip


def epoch_page(request: Request) -> Response:
    """One finalized epoch: its statement, what it follows from, who signed, and how to verify it."""
    shown, published = epoch_asked(request)
    lines = sorted(published.lines, key=lambda line: (-line.amount_credits, line.key))
    page = PageOf(request, len(lines))
    ledger, epoch = shelf_of(request).ledger, published.epoch
    return _page(
        request, shown, "epoch.html.j2", published=published, lines=lines[page.start : page.stop], page=page,
        largest=max((line.amount_credits for line in lines), default=0), pool=ledger.pool.of(epoch),
        units_milli=sum(line.units_milli for line in lines), corrections=ledger.published.corrections(epoch),
        policy=_policy_of(epoch), archive=archive_name(published, shown), approvers=_approvers(epoch),
        kinds={event_kind(kind.name, stream.event_type): stream.describes_rows
               for kind in shelf_of(request).spec.source_kinds for stream in kind.streams},
    )  # fmt: skip


def why_page(request: Request) -> Response:
    """Why a claimant has what they have of an epoch: every event of theirs, what it weighs, and who decided so."""
    shown, published = epoch_asked(request)
    claimant, ledger, epoch = claimant_asked(request), shelf_of(request).ledger, published.epoch
    count = ledger.published.counts(epoch.scope_id, [epoch], claimant).get(epoch.id, ClaimedCount())
    allocations = [allocation for allocation in ledger.allocations.of(epoch) if allocation.user_id == claimant]
    corrections = [row for row in ledger.published.corrections(epoch) if row.user_id == claimant]
    line = published.line_of.get(claimant)
    if line is None and not count.events and not allocations:
        raise Problem(HTTP_404_NOT_FOUND, "Nobody of this name has anything in this epoch.")
    page = PageOf(request, count.events)
    choice = _choice_of(epoch)
    events = ledger.published.claimed(epoch, claimant, page.stop - page.start, page.start)
    return _page(
        request, shown, "why.html.j2", published=published, claimant=claimant, line=line, count=count, page=page,
        events=[_explained(event, claimant, epoch, choice) for event in events],
        allocation=next(iter(allocations), None), corrections=corrections, policy=_policy_of(epoch),
    )  # fmt: skip


def contributor_page(request: Request) -> Response:
    """One claimant over all finalized epochs of a scope."""
    shown = shelf_of(request).of(scope_asked(request))
    claimant, ledger = claimant_asked(request), shelf_of(request).ledger
    counts = ledger.published.counts(shown.scope.scope_id, [published.epoch for published in shown.epochs], claimant)
    rows: list[EpochOfClaimant] = []
    running_credits = 0
    for published in reversed(shown.epochs):
        line, count = published.line_of.get(claimant), counts.get(published.epoch.id)
        if line is not None or count is not None:
            running_credits += 0 if line is None else line.amount_credits
            rows.append(EpochOfClaimant(published, line, running_credits, count or ClaimedCount()))
    if not rows:
        raise Problem(HTTP_404_NOT_FOUND, "Nobody of this name has anything in a finalized epoch.")
    drawn = [_amounts(row) for row in rows[-CHARTED:]]
    rows.reverse()
    page = PageOf(request, len(rows))
    return _page(
        request, shown, "contributor.html.j2", claimant=claimant, rows=rows[page.start : page.stop], page=page,
        total_credits=running_credits, events=sum(row.count.counting for row in rows),
        left_out=sum(row.count.left_out for row in rows), epochs=sum(row.line is not None for row in rows),
        chart=chart(drawn, running_total=True), charted=len(drawn),
        is_reserved=key_of_set_hash_key(claimant) == claimant,
    )  # fmt: skip


def contributors_page(request: Request) -> Response:
    """Everybody who has something of a finalized epoch, most credits first."""
    shown = shelf_of(request).of(scope_asked(request))
    everybody = list(shown.claimants.values())
    page = PageOf(request, len(everybody))
    return _page(
        request, shown, "contributors.html.j2", rows=everybody[page.start : page.stop], page=page,
        largest=max((row.amount_credits for row in everybody), default=0),
    )  # fmt: skip


def archive(request: Request) -> Response:
    """The archive of a finalized epoch."""
    shown, published = epoch_asked(request)
    sent = answer(request, shelf_of(request).archive(published), "application/zip")
    sent.headers["content-disposition"] = f'attachment; filename="{archive_name(published, shown)}"'
    return sent


def style_sheet(request: Request) -> Response:
    """The style sheet, under a name that changes with what is in it."""
    return answer(request, request.app.state.style, "text/css; charset=utf-8", FOREVER)


def archive_name(published: PublishedEpoch, shown: Publication) -> str:
    """What the archive's file is called, as `ledger-pipeline export` calls it."""
    return f"epoch-{published.epoch.window.key}-{shown.scope.scope_key}.zip"


def _page(request: Request, shown: Publication, template: str, **content: object) -> Response:
    body = rendered(request, template, shown=shown, scopes=shelf_of(request).spec.scopes, **content)
    return answer(request, body, HTML)


def _amounts(row: EpochOfClaimant) -> Amounts:
    amount = 0 if row.line is None else row.line.amount_credits
    is_reserved = row.line is not None and row.line.is_reserved
    return Amounts(row.published.epoch.window.key, 0 if is_reserved else amount, amount if is_reserved else 0)


def _choice_of(epoch: Epoch) -> SelectionChoice | None:
    """The policy that the epoch closed with; None without one, and where what was pinned is none."""
    try:
        return None if epoch.pins is None else pinned_choice(epoch.pins.pinned_spec)
    except SelectionError:
        return None


def _policy_of(epoch: Epoch) -> str | None:
    choice = _choice_of(epoch)
    return None if choice is None else choice.policy


def _approvers(epoch: Epoch) -> Sequence[str]:
    pinned = None if epoch.pins is None else epoch.pins.pinned_spec.get("approvers")
    return [str(address) for address in pinned] if isinstance(pinned, list) else []


def _explained(event: ClaimedEvent, claimant: str, epoch: Epoch, choice: SelectionChoice | None) -> ExplainedEvent:
    curated = CuratedEvents(
        event.author,
        event_kind(event.source, event.event_type),
        event.weight_override_milli,
        1,
        event.factor_milli,
        tuple(event.co_authors),
    )
    units_milli = curated.shares_milli(epoch.weights_milli).get(claimant, 0) if event.counts else 0
    sentence = ""
    if event.policy_reason is not None and choice is not None:
        sentence = reason_sentences(choice).get(code_of(event.policy_reason), event.policy_reason)
    because = f"An approver decided: {event.note}" if event.by_person and event.note else sentence
    if event.weight_override_milli is not None:
        weighed = "weighed by an approver"
    elif event.factor_milli is not None:
        weighed = "weighed by the policy"
    else:
        weighed = "weighed as its kind"
    people = len({event.author, *event.co_authors})
    shared = f", and shared by {people}" if people > 1 else ""
    return ExplainedEvent(event, units_milli, curated.kind, f"{weighed}{shared}", because)


def utc_now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
