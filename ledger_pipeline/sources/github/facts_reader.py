"""Facts of items that are in the ledger already: many are asked for at once, by number."""

from collections.abc import Iterator, Sequence
from typing import Any

from ledger_pipeline.core.events import ActivityEvent
from ledger_pipeline.core.facts import Facts, Observation
from ledger_pipeline.core.sources import GITHUB_STREAMS, PULL_REQUEST
from ledger_pipeline.sources.github import queries
from ledger_pipeline.sources.github.answer import Answer, QueryTooHeavyError
from ledger_pipeline.sources.github.asking import Asker, RepositoryPart, is_below_the_repository, without_failed_nodes
from ledger_pipeline.sources.github.capabilities import ServerSchema
from ledger_pipeline.sources.github.client import GitHubClient
from ledger_pipeline.sources.github.items import ItemReader
from ledger_pipeline.sources.github.page_size import PageSizes
from ledger_pipeline.sources.github.reading import Reading
from ledger_pipeline.sources.port import FactsPage, ItemFacts, ItemKey

# Of pull requests alone they cost two points; a hundred with their reviews is what turns into a 502.
MOST_AT_ONCE = 50
_SHRINKS_BY = 4


class FactsReader:
    """Reads facts of items of one repository, up to `page_size` at once. One thread uses it.

    Where GitHub gives up on many, fewer are asked for; one alone as a scan asks for an item that it could not read.
    """

    def __init__(
        self, client: GitHubClient, source_scope: str, schema: ServerSchema, page_size: int, *, tells_paths: bool
    ) -> None:
        self._source_scope = source_scope
        self._most = min(page_size, MOST_AT_ONCE)
        self._asker = Asker(client, source_scope, schema, tells_paths=tells_paths)
        self._items = ItemReader(self._asker, frozenset(GITHUB_STREAMS), PageSizes(page_size))
        self._reviews_first = page_size

    def pages(self, keys: Sequence[ItemKey]) -> Iterator[FactsPage]:
        """Each of `keys` once, in the order given."""
        start, size = 0, self._most
        while start < len(keys):
            asked = keys[start : start + size]
            try:
                answer_part, items = self._read(asked)
            except QueryTooHeavyError:
                if len(asked) > 1:
                    size = max(1, len(asked) // _SHRINKS_BY)
                    continue
                answer_part = self._asker.part(self._asker.ask(queries.NAME, {}))
                items = [self._item(asked[0], self._items.by_number(answer_part, asked[0]), answer_part)]
            start += len(asked)
            size = min(size * 2, self._most)
            answered_at, repository_id = answer_part.answer.server_time, answer_part.repository.database_id
            yield FactsPage(tuple(items), answered_at, self._asker.usage(), repository_id)

    def _read(self, keys: Sequence[ItemKey]) -> tuple[RepositoryPart, list[ItemFacts]]:
        aliases = _aliases(keys)
        pull_requests = sum(alias.startswith("p") for alias in aliases)
        variables: dict[str, Any] = {alias: key.number for alias, key in aliases.items()}
        if pull_requests:
            variables |= {"reviewsFirst": self._reviews_first, "reviewsAfter": None}
        query = queries.items_query(pull_requests, len(aliases) - pull_requests)
        answer = self._asker.ask(query, variables, allowed=is_below_the_repository)
        gone = _not_found(answer)
        without_failed_nodes(answer)
        answer_part = self._asker.part(answer)
        nodes = answer.data["repository"]
        readings = {
            key: Reading(key, is_gone=True) if alias in gone else self._reading(answer_part, key, nodes.get(alias))
            for alias, key in aliases.items()
        }
        return answer_part, [self._item(key, readings[key], answer_part) for key in keys]

    def _reading(self, answer_part: RepositoryPart, key: ItemKey, node: object) -> Reading:
        """What the node says of the item; asked for by itself where that is not all there is, or of another one."""
        reading = Reading(key) if node is None else self._items.of_page(answer_part, key.kind, node)
        if node is None or reading.lacks_nodes or reading.key != key:
            return self._items.by_number(answer_part, key)
        return reading

    def _item(self, key: ItemKey, reading: Reading, answer_part: RepositoryPart) -> ItemFacts:
        if reading.is_gone:
            return ItemFacts(key, is_gone=True)
        name = answer_part.repository.name_with_owner
        facts: dict[str, Facts] = {self._stored_id(event_id, name): of for event_id, of in reading.facts_of_all.items()}
        if reading.of_item is not None:
            kind = "pr" if key.kind == PULL_REQUEST else "issue"
            facts[f"github:{kind}:{self._source_scope}:{key.number}"] = reading.of_item
        return ItemFacts(
            key,
            tuple(Observation(event_id, of) for event_id, of in facts.items()),
            {
                self._stored_id(item.id, name): item.source_object_id
                for item in reading.items
                if isinstance(item, ActivityEvent)
            },
            problem=reading.problem,
        )

    def _stored_id(self, event_id: str, name: str) -> str:
        """The id with the repository's name as it was asked for, which may be one of before."""
        return event_id.replace(f":{name}:", f":{self._source_scope}:", 1)


def _aliases(keys: Sequence[ItemKey]) -> dict[str, ItemKey]:
    numbers = {"p": 0, "i": 0}
    aliases = {}
    for key in keys:
        letter = "p" if key.kind == PULL_REQUEST else "i"
        aliases[f"{letter}{numbers[letter]}"] = key
        numbers[letter] += 1
    return aliases


def _not_found(answer: Answer) -> frozenset[object]:
    return frozenset(error.path[1] for error in answer.errors if error.type == "NOT_FOUND" and len(error.path) == 2)
