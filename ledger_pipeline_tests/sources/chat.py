"""A second source, as its author writes one: rooms of a chat, whose messages count for who wrote them."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from ledger_pipeline.core.events import ActivityEvent, activity_event
from ledger_pipeline.core.sources import SourceKind, StreamKind
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.port import Head, Heads, ScanPage, ScanRequest
from ledger_pipeline.sources.stopping import StopSignal
from ledger_pipeline_tests.sources.chat_server import SERVER

MESSAGES = StreamKind(
    "messages", "message_sent", ("sentAt",), 20, "message", "^chat:message:[a-z]+:[0-9]+$", "A row is a message."
)
CHAT = SourceKind(
    name="chat",
    title="Chat",
    streams=(MESSAGES,),
    source_ref=re.compile("[a-z]+"),
    source_ref_form="a room in lower case, as general",
    producer="tests/chat",
    opened_by="ledger_pipeline_tests.sources.chat:open_chat",
)


class ChatSource:
    """Reads SERVER, at most `page_size` messages a page."""

    name, producer, producer_version, streams = CHAT.name, CHAT.producer, "1", CHAT.stream_names

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size

    def heads(self, source_scopes: Sequence[str]) -> Heads:
        rooms = {room: SERVER.rooms[room] for room in source_scopes if room in SERVER.rooms}
        return Heads({room: Head({"messages": max(at for _, at in sent)}) for room, sent in rooms.items()}, SERVER.now)

    def scan(self, request: ScanRequest) -> Iterator[ScanPage]:
        room, floor = request.source_scope, request.floors["messages"]
        sent = [_event(room, n, *written) for n, written in enumerate(SERVER.rooms[room]) if written[1] >= floor][::-1]
        begin = 0 if request.position is None else int(str(request.position["read"]))
        for read in range(begin, max(len(sent), 1), self.page_size):
            end = read + self.page_size
            position = {"read": end} if end < len(sent) else None
            yield ScanPage(room, tuple(sent[read:end]), SERVER.now, SERVER.now, position)


def _event(room: str, number: int, author: str, at: datetime) -> ActivityEvent:
    return activity_event(
        event_id=f"chat:message:{room}:{number}",
        event_type=MESSAGES.event_type,
        source_scope=room,
        user_id=author,
        login=author,
        object_id=f"{room} {number}",
        url=f"https://chat.example/{room}/{number}",
        metadata={"sentAt": at.isoformat()},
    )


@contextmanager
def open_chat(settings: Settings, page_size: int | None = None, stop: StopSignal | None = None) -> Iterator[ChatSource]:
    """The chat; a real one would read its address and its token from `settings`."""
    yield ChatSource(page_size or 100)
