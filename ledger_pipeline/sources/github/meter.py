"""What questions to GitHub cost, summed up between two moments of telling."""

from collections.abc import Callable, Mapping
from typing import Any

from ledger_pipeline.sources.github.answer import Answer
from ledger_pipeline.sources.port import RequestUsage

Question = Callable[[str, str, Mapping[str, Any]], Answer]
"""`GitHubClient.query` or one of its kind: source_scope, query, variables."""


class Meter:
    """Counts requests, those that fail too, and the points of those that do not. It is not thread-safe."""

    def __init__(self) -> None:
        self._requests = self._points = 0
        self._points_left: int | None = None

    def ask(self, question: Question, source_scope: str, query: str, variables: Mapping[str, Any]) -> Answer:
        """Put the question, and note what it cost; raises what it raises."""
        self._requests += 1
        answer = question(source_scope, query, variables)
        self._points += answer.points
        self._points_left = answer.points_left
        return answer

    def take(self) -> RequestUsage:
        """What was noted since the last time."""
        usage = RequestUsage(self._requests, self._points, self._points_left)
        self._requests = self._points = 0
        return usage
