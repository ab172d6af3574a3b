"""One scan's questions to GitHub: what they cost, when GitHub told the time, and waits where it gives up repeatedly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from ledger_pipeline.core.errors import SourceRefused, SourceUnavailable
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.sources.github.answer import (
    Answer,
    QueryRefusedError,
    QueryTooHeavyError,
    ServerFailedError,
    no_error,
)
from ledger_pipeline.sources.github.capabilities import ServerSchema, is_of_what_may_lack
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.envelope import GraphQLError
from ledger_pipeline.sources.github.fact_fields import (
    FACT_FIELDS,
    PATHS,
    FactField,
    failed_facts,
    is_of_a_fact,
    without,
)
from ledger_pipeline.sources.github.failed_tries import is_limit, quoted
from ledger_pipeline.sources.github.meter import Meter
from ledger_pipeline.sources.github.payloads import RepositoryAnswer, UnusablePayload, read
from ledger_pipeline.sources.github.queries import NAME
from ledger_pipeline.sources.port import RequestUsage


@dataclass(frozen=True)
class RepositoryPart:
    """What an answer tells of the repository, nothing in its connections validated, and the answer it is of."""

    repository: RepositoryAnswer
    answer: Answer


class Asker:
    """Asks for one source_scope. It is not thread-safe.

    Where GitHub gives up on several questions in a row (an outage looks just like a question that is too heavy), the
    second is asked at once, and each further one after twice as long a wait as the one before. A server that fails
    again and again counts as one that gives up, and until a whole page comes again at its first failure. Without
    patience, because an item is known to be bad, that is so from the start: only a question for the repository's name,
    which holds no item, is asked again and again.
    """

    def __init__(
        self,
        client: GitHubClient,
        source_scope: str,
        schema: ServerSchema,
        *,
        is_patient: bool = True,
        tells_facts: bool = True,
        tells_paths: bool = False,
    ) -> None:
        self.source_scope = source_scope
        owner, _, name = source_scope.partition("/")
        self._names = {"owner": owner, "name": name}
        self._client = client
        self._schema = schema
        self._meter = Meter()
        self._given_up = 0
        self._has_failed = False
        self._is_patient = is_patient
        self._tells_facts = tells_facts
        self._tells_paths = tells_paths
        self._known_names = {source_scope.casefold()}
        self.began_at: datetime | None = None
        """GitHub's time at the first answer; None before."""

    def ask(
        self,
        query: str,
        variables: Mapping[str, Any],
        allowed: Callable[[GraphQLError], bool] = no_error,
        *,
        is_patient: bool | None = None,
    ) -> Answer:
        """The answer. Raises as `GitHubClient.query_partially` does, QueryTooHeavyError for ServerFailedError.

        So also where an error of a part leaves nothing of the repository. The first time that the server fails, it
        has to answer a question for the repository's name: SourceUnavailable where it does not.
        """
        if self._given_up > 1:
            self._client.pause(self._given_up - 2)
        if is_patient is None:
            is_patient = self._is_patient and not self._has_failed
        question = partial(
            self._client.query_partially,
            allowed=lambda error: is_of_a_fact(error) or allowed(error),
            is_patient=is_patient,
        )
        if not self._tells_paths:
            query = without(query, [PATHS])
        all_variables = {**self._names, **variables}
        left_out = frozenset[FactField]() if self._tells_facts else frozenset(FACT_FIELDS)
        while True:
            adapted = self._schema.adapted(query, self.source_scope, left_out)
            try:
                answer = self._meter.ask(question, self.source_scope, adapted, all_variables)
            except QueryTooHeavyError:
                self._given_up += 1
                raise
            except ServerFailedError as error:
                raise self._gave_up(error.problem, error.retry_after_seconds) from None
            except QueryRefusedError as error:
                is_told = self._may_lack_fields(error)
                if not is_told or adapted == self._schema.adapted(query, self.source_scope, left_out):
                    raise
            else:
                without_facts = self._without_failed_facts(answer, left_out)
                if without_facts != left_out:
                    left_out = without_facts
                    continue
                failed = [error for error in answer.errors if not _is_told_of(error)]
                if failed and answer.data.get("repository") is None:
                    raise self._gave_up(f"GitHub could not finish the query: {quoted(failed[0].message)}")
                self._given_up = 0
                self.began_at = self.began_at or answer.server_time
                return answer

    def check_answering(self, problem: str, retry_after_seconds: float | None = None) -> None:
        """See whether GitHub gives up on everything, having given up on a question with `problem`.

        Raises SourceUnavailable where even the repository's name does not come: then it is no item's doing.
        """
        try:
            self.ask(NAME, {}, is_patient=not self._is_patient)
        except QueryTooHeavyError as error:
            seconds = retry_after_seconds if error.retry_after_seconds is None else error.retry_after_seconds
            raise self.unavailable(
                f"GitHub gives up even on the repository's name: {problem}", retry_after_seconds=seconds
            ) from None

    def went_well(self) -> None:
        """A whole page came: a failure is waited for again."""
        self._has_failed = False

    def _gave_up(self, problem: str, retry_after_seconds: float | None = None) -> QueryTooHeavyError:
        """The error of a question that the server fails. Raises as `check_answering` does, the first time."""
        self._given_up += 1
        if not self._has_failed:
            self._has_failed = True
            self.check_answering(problem, retry_after_seconds)
        return QueryTooHeavyError(GITHUB, self.source_scope, problem, retry_after_seconds=retry_after_seconds)

    def _may_lack_fields(self, error: QueryRefusedError) -> bool:
        """Whether the server refuses what it does not know; asks it for its schema."""
        is_of_fields = any(map(is_of_what_may_lack, error.errors))
        return is_of_fields and self._schema.learn(self._client, self.source_scope)

    def _without_failed_facts(self, answer: Answer, left_out: frozenset[FactField]) -> frozenset[FactField]:
        """What to leave out when the same is asked again, so that no fact that fails takes an event with it.

        Facts that fail one after the other are all left out the second time. What the credentials may not read is
        remembered.
        """
        failed = failed_facts(answer.errors) - left_out
        if not failed:
            return left_out
        self._schema.forbid(
            self.source_scope, failed_facts(error for error in answer.errors if error.type == "FORBIDDEN")
        )
        return frozenset(FACT_FIELDS) if left_out else failed

    def usage(self) -> RequestUsage:
        """What was asked since the last time this was asked for."""
        return self._meter.take()

    def part(self, answer: Answer) -> RepositoryPart:
        """The repository of an answer.

        Raises SourceRefused where it has none that can be used, SourceUnavailable where it has another one's name.
        """
        payload = answer.data.get("repository")
        if payload is None:
            raise self.refused("GitHub answers null for the repository")
        try:
            repository = read(RepositoryAnswer, payload, answer.date)
        except UnusablePayload as error:
            raise self.refused(f"GitHub's answer is malformed: {error}") from None
        self._check_name(repository)
        return RepositoryPart(repository, answer)

    def _check_name(self, repository: RepositoryAnswer) -> None:
        """See that a new name is its own: ids of events are made of it, and those of another repository would be taken.

        One that was renamed answers to both.
        """
        name = repository.name_with_owner
        if name.casefold() in self._known_names:
            return
        owner, _, own = name.partition("/")
        try:
            answer = self.ask(NAME, {"owner": owner, "name": own}, allowed=_is_told_of)
            confirmed = read(RepositoryAnswer, answer.data.get("repository"), answer.date)
        except (QueryTooHeavyError, UnusablePayload):
            confirmed = None
        if confirmed is None or confirmed.database_id != repository.database_id:
            raise self.unavailable(
                f"GitHub answers with the name of {name}, and under that name with another repository"
            )
        self._known_names.add(name.casefold())

    def refused(self, problem: str) -> SourceRefused:
        """The error of what the same question will not help."""
        return SourceRefused(GITHUB, self.source_scope, problem)

    def unavailable(self, problem: str, retry_after_seconds: float | None = None) -> SourceUnavailable:
        """The error of what the same question may help later."""
        return SourceUnavailable(GITHUB, self.source_scope, problem, retry_after_seconds=retry_after_seconds)


def _is_told_of(error: GraphQLError) -> bool:
    """Whether it says what the asker wants to know: that a connection, or the one item, is forbidden or not there."""
    return len(error.path) <= 2 and error.type in ("FORBIDDEN", "NOT_FOUND")


def is_below_the_repository(error: GraphQLError) -> bool:
    """Whether it is of something that was asked of the repository, so that the rest of the answer stands."""
    return error.path[:1] == ("repository",) and len(error.path) > 1 and not is_limit(error)


def is_of_a_node(error: GraphQLError) -> bool:
    """Whether only an item of a list has the error, or something in it."""
    return (
        error.path[:1] == ("repository",) and any(isinstance(step, int) for step in error.path) and not is_limit(error)
    )


def without_failed_nodes(answer: Answer) -> None:
    """Make null every node that an error of `answer` is in: what is left of it may look whole, and is not.

    An author that could not be loaded would read like a deleted account.
    """
    for error in answer.errors:
        steps = list(error.path)
        last = max((n for n, step in enumerate(steps) if isinstance(step, int)), default=None)
        if last is None:
            # Of the one item asked for: its reviews, or all of it.
            last = steps.index("reviews") if "reviews" in steps else 1
        _make_null(answer.data, steps[: last + 1])


def _make_null(value: Any, path: list[str | int]) -> None:
    *parents, last = path
    for step in parents:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return  # a parent is null already
    is_place = isinstance(last, int) and isinstance(value, list) and -len(value) <= last < len(value)
    if is_place or (isinstance(last, str) and isinstance(value, dict)):
        value[last] = None
