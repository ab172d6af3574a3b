"""The chat that the second source of the tests reads, in place of one that is asked over HTTP."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass
class Chat:
    """What the chat holds: of each room who wrote and when, in the order of the messages; and its clock."""

    now: datetime
    rooms: dict[str, list[tuple[str, datetime]]]


SERVER = Chat(datetime(2026, 1, 1, tzinfo=UTC), {})
