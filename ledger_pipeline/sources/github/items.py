"""Single items, asked for by number, ever more lightly where GitHub gives up or answers null.

One bad pull request costs, when it is asked for by number, a question for its merge with a page of its reviews and one
for its merge alone; in between one whether it is there, where nobody knows when it was made. Only where the merge
comes, its reviews are asked for in smaller pages (of 5 and 1). Whatever GitHub answers, it is MOST_REQUESTS at most. An
issue costs at most two.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from ledger_pipeline.core.sources import PULL_REQUEST, REVIEWS
from ledger_pipeline.core.unread import ItemKey
from ledger_pipeline.sources.github import queries
from ledger_pipeline.sources.github.answer import QueryTooHeavyError
from ledger_pipeline.sources.github.asking import Asker, RepositoryPart, is_below_the_repository, without_failed_nodes
from ledger_pipeline.sources.github.endless import Advance, LeadsNowhere
from ledger_pipeline.sources.github.facts import default_branch
from ledger_pipeline.sources.github.page_size import PageSizes
from ledger_pipeline.sources.github.payloads import Page, listed
from ledger_pipeline.sources.github.reading import Reader, Reading

REVIEW_PAGES = (25, 5, 1)
"""The page sizes that one pull request's reviews are asked for in, the next where GitHub cannot give the one before."""

MOST_REQUESTS = 200
"""So many are made for one item: a pull request that needs more counts as unread."""

Sizes = Callable[[], Iterator[int]]


class _Gone(Exception):
    """The repository has no such item."""


class ItemReader:
    """Reads items of the repository that a scan is of. It is not thread-safe.

    Raises SourceUnavailable where another repository answers, and as Asker does; what is only wrong with the item is
    in its Reading. An item on which GitHub gives up counts as unread only while GitHub answers other questions.
    """

    def __init__(self, asker: Asker, streams: frozenset[str], sizes: PageSizes) -> None:
        self._asker = asker
        self._streams = streams
        self._sizes = sizes
        self._requests = 0
        self._has_given_up = self._has_looked = False

    def reader(self, answer_part: RepositoryPart) -> Reader:
        """Reads the payloads of an answer."""
        return Reader(
            self._asker.source_scope,
            answer_part.repository.name_with_owner,
            self._streams,
            answer_part.answer.date,
            default_branch(answer_part.answer.data.get("repository")),
        )

    def of_page(self, answer_part: RepositoryPart, kind: str, node: object) -> Reading:
        """An item as a page has it; of a pull request all reviews, also those that the page has no room for."""
        reader = self.reader(answer_part)
        if kind != PULL_REQUEST:
            return reader.issue(node)
        reading = reader.pull_request(node)
        if node is not None and reading.key.number and REVIEWS in self._streams:
            page = reader.reviews_of(reading, node)
            if page is not None and None in page.nodes:
                reading.lacks_nodes = True
            elif page is not None:
                self._requests = 0
                try:
                    self._read_reviews(answer_part, reading, page, self._shrinking)
                except _Gone:
                    reading.fail("it is gone since the page before")
                self._check_answering(reading)
        return reading

    def by_number(self, of: RepositoryPart, key: ItemKey, created: datetime | None = None) -> Reading:
        """An item of the repository that `of` is of, asked for by itself: read, or with a problem, or gone.

        `created` is when it was made, where that is known.
        """
        reading = Reading(key, created)
        self._requests, self._has_looked = 0, False
        try:
            if key.kind == PULL_REQUEST:
                self._pull_request(of, reading)
            else:
                self._issue(of, reading)
            if reading.problem is not None and reading.created is None:
                self._look(of, reading)
        except _Gone:
            reading.is_gone = True
        self._check_answering(reading)
        return reading

    def _pull_request(self, of: RepositoryPart, reading: Reading) -> None:
        if REVIEWS not in self._streams:
            self._merge(of, reading)
            return
        page = self._review_page(of, reading, None, lambda: iter(REVIEW_PAGES[:1]))
        if page is None:
            if reading.created is None:
                # First, so that GitHub does not give up twice in a row.
                self._look(of, reading)
            reading.problem = None
            if self._merge(of, reading):
                page = self._review_page(of, reading, None, lambda: iter(REVIEW_PAGES[1:]))
        if page is not None:
            self._read_reviews(of, reading, page, lambda: iter(REVIEW_PAGES))

    def _merge(self, of: RepositoryPart, reading: Reading) -> bool:
        """Add the merge alone; whether it came."""
        answered = self._ask(of, reading, whole=True)
        if answered is None:
            return False
        answer_part, node = answered
        self._take(reading, self.reader(answer_part).pull_request(node))
        return True

    def _issue(self, of: RepositoryPart, reading: Reading) -> None:
        answered = self._ask(of, reading, whole=True)
        if answered is None:
            return
        answer_part, node = answered
        self._take(reading, self.reader(answer_part).issue(node))

    def _read_reviews(self, of: RepositoryPart, reading: Reading, page: Page, sizes: Sizes) -> None:
        """Add the reviews of `page` and of those behind it, as many as GitHub counts in the end."""
        what = f"reviews of pull request {of.repository.name_with_owner}#{reading.key.number}"
        advance, reader = Advance(what), self.reader(of)
        seen_ids, nulls, after, is_asked_twice = set[str](), 0, None, False
        following: Page | None = page
        while following is not None:
            ids = reader.add_reviews(reading, following)
            without_id = len(following.nodes) - len(ids)
            if not following.page_info.has_next_page:
                lacking = _lacking(what, following, len(seen_ids.union(ids)) + nulls + without_id)
                if lacking is None:
                    return
                if is_asked_twice:
                    reading.fail(lacking)
                    return
                is_asked_twice = True
                following = self._review_page(of, reading, after, sizes)
                continue
            try:
                advance.check(ids, following.page_info)
            except LeadsNowhere as error:
                reading.fail(str(error))
                return
            seen_ids, nulls, after = seen_ids.union(ids), nulls + without_id, following.page_info.end_cursor
            following = self._review_page(of, reading, after, sizes)

    def _review_page(self, of: RepositoryPart, reading: Reading, after: str | None, sizes: Sizes) -> Page | None:
        """The page of reviews behind `after`, in the largest of `sizes` that GitHub gives whole; None without.

        What it gives of the merge is added.
        """
        problem = reading.problem
        for size in sizes():
            reading.problem = problem
            page = self._whole(of, reading, reviews=size, after=after)
            if page is not None and (size == 1 or None not in page.nodes):
                return page
        return None

    def _whole(self, of: RepositoryPart, reading: Reading, *, reviews: int, after: str | None) -> Page | None:
        """Add the merge; the page of reviews, where it comes."""
        answered = self._ask(of, reading, whole=True, reviews=reviews, after=after)
        if answered is None:
            return None
        answer_part, node = answered
        reader = self.reader(answer_part)
        self._take(reading, reader.pull_request(node))
        return reader.reviews_of(reading, node)

    def _look(self, of: RepositoryPart, reading: Reading) -> None:
        """See when the item was made, and whether it is there at all.

        An item is gone where GitHub says so, or answers null for it twice in a row. One null may be a mistake.
        """
        problem, was_null = reading.problem, reading.lacks_nodes
        answered = self._ask(of, reading, whole=False)
        if answered is None:
            if was_null and reading.lacks_nodes:
                raise _Gone
            return
        answer_part, node = answered
        self._has_looked = True
        reading.created = listed(node, answer_part.answer.date).created
        reading.problem = problem

    def _ask(
        self, of: RepositoryPart, reading: Reading, *, whole: bool, reviews: int | None = None, after: str | None = None
    ) -> tuple[RepositoryPart, object] | None:
        """The item's payload, and the answer it is of; None, with the reason noted, where it did not come.

        Raises _Gone.
        """
        is_pull_request = reading.key.kind == PULL_REQUEST
        reading.lacks_nodes = False
        if self._requests == MOST_REQUESTS:
            reading.fail(f"its reviews take more than {MOST_REQUESTS} requests")
            return None
        self._requests += 1
        variables: dict[str, Any] = {"number": reading.key.number, "whole": whole}
        if is_pull_request:
            variables |= {"withReviews": reviews is not None, "reviewsFirst": reviews or 1, "reviewsAfter": after}
        query = queries.PULL_REQUEST if is_pull_request else queries.ISSUE
        try:
            answer = self._asker.ask(query, variables, allowed=is_below_the_repository)
        except QueryTooHeavyError as error:
            self._has_given_up = True
            reading.fail(error.problem)
            return None
        self._has_given_up = False
        if any(error.type == "NOT_FOUND" and len(error.path) == 2 for error in answer.errors):
            raise _Gone
        if answer.errors and answer.data.get("repository") is None:
            reading.fail(answer.errors[0].message)
            return None
        without_failed_nodes(answer)
        answer_part = self._asker.part(answer)
        self._check_same(of, answer_part)
        node = answer_part.repository.pull_request if is_pull_request else answer_part.repository.issue
        if node is not None:
            return answer_part, node
        reading.lacks_nodes = not answer.errors
        reading.fail(answer.errors[0].message if answer.errors else "GitHub answers null for it")
        return None

    def _check_answering(self, reading: Reading) -> None:
        """See that what failed last failed for the item, unless it was seen meanwhile: in an outage all does."""
        has_given_up, self._has_given_up = self._has_given_up, False
        if has_given_up and not self._has_looked and reading.problem is not None:
            self._asker.check_answering(reading.problem)

    def _take(self, reading: Reading, partial: Reading) -> None:
        reading.take(partial)
        reading.created = reading.created or partial.created
        if partial.problem is not None:
            reading.fail(partial.problem)

    def _check_same(self, of: RepositoryPart, answer_part: RepositoryPart) -> None:
        before, now = of.repository.database_id, answer_part.repository.database_id
        if None not in (before, now) and before != now:
            raise self._asker.unavailable("another repository has this name since the scan began: it has to begin anew")

    def _shrinking(self) -> Iterator[int]:
        """The page sizes of the scan's pages, smaller ones for good once GitHub gives up."""
        yield self._sizes.reviews
        while self._sizes.shrink(reviews=True):
            yield self._sizes.reviews


def _lacking(what: str, page: Page, count: int) -> str | None:
    """What the reviews lack that `page` ends with so many of them; None: nothing."""
    if page.total_count is None:
        return f"a page ends the {what} and does not say how many there are"
    if count >= page.total_count:
        return None
    return f"GitHub counts {page.total_count} {what} and lists {count} of them, asked twice"
