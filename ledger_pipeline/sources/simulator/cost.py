"""What a query costs by GitHub's published rule, before it is run.

The rule: count the requests needed to fulfil each unique connection, assuming that every page is full; divide by
100 and round; at least 1. `nodeCount` is how many objects those pages could hold; more than 500,000 is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    get_directive_values,
    get_named_type,
)
from graphql.execution.values import get_argument_values
from graphql.type import GraphQLInterfaceType, GraphQLNamedType

NODE_LIMIT = 500_000

# What an item has few of, whatever size of page is asked for: no page is heavy for these.
_FEW = frozenset({"labels", "files", "commits", "closingIssuesReferences", "timelineItems"})


@dataclass
class Cost:
    """What one query asks for at most."""

    requests: int = 0
    node_count: int = 0
    largest_page: int = 0
    repositories: list[str] = field(default_factory=list)

    @property
    def points(self) -> int:
        """What the query takes from the hourly budget."""
        return max(1, (self.requests + 50) // 100)


@dataclass(frozen=True)
class Survey:
    """One query to be measured."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]

    def cost(self, operation: OperationDefinitionNode) -> Cost:
        """Walk the query once, as if it were run."""
        cost, seen = Cost(), set[tuple[str, ...]]()
        self._walk(operation.selection_set, self.schema.query_type, 1, (), seen, cost)
        return cost

    def _walk(
        self,
        selections: SelectionSetNode | None,
        parent: GraphQLNamedType | None,
        times: int,
        path: tuple[str, ...],
        seen: set[tuple[str, ...]],
        cost: Cost,
    ) -> None:
        for field_node, owner in self._fields(selections, parent):
            definition = owner.fields.get(field_node.name.value)
            if definition is None:
                continue  # __typename
            answer = get_named_type(definition.type)
            here = (*path, field_node.alias.value if field_node.alias else field_node.name.value)
            arguments = get_argument_values(definition, field_node, dict(self.variables))
            below = times
            if answer.name.endswith("Connection") and "first" in definition.args:
                size = max(arguments.get("first") or arguments.get("last") or 0, 0)
                below = times * size
                if here not in seen:
                    cost.requests += times
                    cost.node_count += below
                    if field_node.name.value not in _FEW:
                        cost.largest_page = max(cost.largest_page, size)
            elif owner is self.schema.query_type and field_node.name.value == "repository" and here not in seen:
                cost.repositories.append(f"{arguments['owner']}/{arguments['name']}")
            seen.add(here)
            self._walk(field_node.selection_set, answer, below, here, seen, cost)

    def _fields(
        self, selections: SelectionSetNode | None, parent: GraphQLNamedType | None
    ) -> Iterator[tuple[FieldNode, GraphQLObjectType | GraphQLInterfaceType]]:
        """Each field with the type it belongs to, fragments opened, what @skip and @include leave out left out."""
        for selection in () if selections is None else selections.selections:
            skipped = get_directive_values(GraphQLSkipDirective, selection, dict(self.variables))
            included = get_directive_values(GraphQLIncludeDirective, selection, dict(self.variables))
            if (skipped and skipped["if"]) or (included and not included["if"]):
                continue
            if isinstance(selection, FieldNode):
                if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
                    yield selection, parent
            elif isinstance(selection, InlineFragmentNode):
                condition = selection.type_condition
                inner = self.schema.get_type(condition.name.value) if condition else parent
                yield from self._fields(selection.selection_set, inner)
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self.fragments[selection.name.value]
                inner = self.schema.get_type(fragment.type_condition.name.value)
                yield from self._fields(fragment.selection_set, inner)
