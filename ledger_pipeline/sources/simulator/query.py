"""One GraphQL query: parsed and validated once by its text, measured before it runs, then run against a world."""

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    REMOVE,
    ExecutionResult,
    FieldDefinitionNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    InterfaceTypeDefinitionNode,
    ObjectTypeDefinitionNode,
    OperationDefinitionNode,
    Visitor,
    build_ast_schema,
    build_schema,
    execute,
    get_operation_ast,
    parse,
    validate,
    visit,
)
from graphql.execution.values import get_variable_values
from graphql.language import DocumentNode

from ledger_pipeline.sources.simulator.cost import NODE_LIMIT, Cost, Survey
from ledger_pipeline.sources.simulator.errors import as_github_writes
from ledger_pipeline.sources.simulator.nodes import Node

_TEXT = (Path(__file__).parent / "schema.graphql").read_text(encoding="utf-8")

SCHEMA = build_schema(_TEXT)


class _Without(Visitor):
    """Takes fields, named as `Issue.fullDatabaseId`, out of a schema."""

    def __init__(self, fields: frozenset[str]) -> None:
        super().__init__()
        self._fields = fields

    def leave_field_definition(
        self, node: FieldDefinitionNode, _key: object, _parent: object, _path: object, ancestors: list[Any]
    ) -> Any:
        owner = next(
            ancestor
            for ancestor in reversed(ancestors)
            if isinstance(ancestor, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode)
        )
        return REMOVE if f"{owner.name.value}.{node.name.value}" in self._fields else None


@cache
def schema_without(fields: frozenset[str]) -> GraphQLSchema:
    """The schema of an old GitHub Enterprise that lacks `fields`, as `Issue.fullDatabaseId`."""
    return build_ast_schema(visit(parse(_TEXT), _Without(fields))) if fields else SCHEMA


class RefusedError(Exception):
    """The query is answered with errors and without data; nothing of it was run."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors)
        self.errors = errors


@dataclass(frozen=True)
class Query:
    """A query that may be run, and what it costs."""

    document: DocumentNode
    operation_name: str | None
    variables: dict[str, Any]
    cost: Cost
    schema: GraphQLSchema

    def run(self, root: Node) -> dict[str, Any]:
        """The answer as GitHub writes it: data, and errors if there are any."""
        result = execute(
            self.schema,
            self.document,
            root,
            variable_values=self.variables,
            operation_name=self.operation_name,
            field_resolver=_resolve,
            is_awaitable=lambda _value: False,
        )
        assert isinstance(result, ExecutionResult)  # noqa: S101 - nothing here is awaitable
        if not result.errors:
            return {"data": result.data}
        return {"data": result.data, "errors": as_github_writes(result.errors)}


def read_query(text: object, variables: object, operation_name: str | None, schema: GraphQLSchema = SCHEMA) -> Query:
    """Check and measure a request's query; raises RefusedError with GitHub's errors."""
    if not isinstance(text, str):
        raise RefusedError([{"message": "A query attribute must be specified and must be a string."}])
    if variables is not None and not isinstance(variables, dict):
        raise RefusedError([{"message": "Variables are invalid: a map is expected."}])
    document = _parsed(text, schema)
    if isinstance(document, tuple):
        raise RefusedError(as_github_writes(document))
    operation = get_operation_ast(document, operation_name)
    if operation is None:
        raise RefusedError([{"message": f"No operation named {operation_name!r}; name one of those in the query."}])
    cost = _measured(document, operation, variables or {}, schema)
    if cost.node_count > NODE_LIMIT:
        message = (
            f"This query requests up to {cost.node_count:,} possible nodes which exceeds the maximum limit of "
            f"{NODE_LIMIT:,}."
        )
        raise RefusedError([{"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message}])
    return Query(document, operation_name, variables or {}, cost, schema)


@lru_cache(maxsize=256)
def _parsed(text: str, schema: GraphQLSchema) -> DocumentNode | tuple[GraphQLError, ...]:
    """A collector sends the same few texts over and over; only the variables change."""
    try:
        document = parse(text)
    except GraphQLError as error:
        return (error,)
    return tuple(validate(schema, document)) or document


def _measured(
    document: DocumentNode, operation: OperationDefinitionNode, variables: dict[str, Any], schema: GraphQLSchema
) -> Cost:
    coerced = get_variable_values(schema, operation.variable_definitions, variables)
    if isinstance(coerced, list):
        raise RefusedError(as_github_writes(coerced))
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    try:
        return Survey(schema, fragments, coerced).cost(operation)
    except GraphQLError as error:
        raise RefusedError(as_github_writes([error])) from None


def _resolve(source: Node, info: GraphQLResolveInfo, **arguments: Any) -> Any:
    value = source[info.field_name]
    return value(info, **arguments) if callable(value) else value
