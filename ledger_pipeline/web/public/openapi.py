"""The OpenAPI document of the public JSON routes."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Schema: TypeAlias = Mapping[str, object]

_BIGINT: Schema = {"type": "string", "pattern": "^[0-9]+$", "description": "A whole number of up to 64 bits."}
_MAYBE_BIGINT: Schema = {**_BIGINT, "type": ["string", "null"]}
_INSTANT: Schema = {"type": "string", "format": "date-time", "description": "In UTC."}
_MAYBE_INSTANT: Schema = {**_INSTANT, "type": ["string", "null"]}
_TEXT: Schema = {"type": "string"}
_SHARE: Schema = {
    "type": "string",
    "pattern": "^[01]\\.[0-9]{6}$",
    "description": "Of all units; cut off, not rounded.",
}
_UNITS: Schema = {**_BIGINT, "description": "Milli-units: 1000 is one unit."}
_RECEIPTS: Schema = {"type": "array", "items": _TEXT, "description": "The events that count, by id."}


def document(path: str, limit: int, most: int, scope_keys: Sequence[str]) -> Schema:
    """The document of the routes under `path`: at most `most` epochs an answer, `limit` where nobody says."""
    scope = _parameter("scope", "Which project.", {"type": "string", "enum": [*scope_keys], "default": scope_keys[0]})
    paging = [
        _parameter("limit", "How many at most.", {"type": "integer", "minimum": 1, "maximum": most, "default": limit}),
        _parameter("offset", "How many to pass over.", {"type": "integer", "minimum": 0, "default": 0}),
    ]
    epoch_id = {"name": "id", "in": "path", "required": True, "schema": _BIGINT}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Finalized epochs",
            "version": "1",
            "description": "Who was paid how much for what. Epochs that are open or in review are not told of.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            path: _get("The finalized epochs, newest first", "EpochList", [*paging, scope], "400", "404"),
            f"{path}/{{id}}/statement": _get("The statement in force, or null", "StatementAnswer", [epoch_id]),
            f"{path}/{{id}}/claimants": _get("Who has what of it", "ClaimantList", [epoch_id], "404"),
        },
        "components": {"schemas": _schemas()},
    }


def _get(summary: str, answer: str, parameters: Sequence[Schema], *problems: str) -> Schema:
    responses = {
        "200": _content("As of now; its ETag is that of the content.", answer),
        "304": {"description": "Unchanged"},
    }
    responses |= {status: _content("What is wrong, in one sentence.", "Problem") for status in problems}
    return {"get": {"summary": summary, "parameters": [*parameters], "responses": responses}}


def _content(description: str, schema: str) -> Schema:
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


def _parameter(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _object(**members: Schema) -> Schema:
    return {"type": "object", "required": [*members], "properties": members}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _schemas() -> Mapping[str, Schema]:
    user = _object(kind={"const": "user"}, userId=_TEXT)
    login = {"type": ["string", "null"]}
    account = _object(kind={"const": "identity"}, provider=_TEXT, externalId=_TEXT, providerLogin=login)
    claimant: Schema = {"oneOf": [user, account]}
    line = _object(
        claimant_key=_TEXT,
        claimant=claimant,
        final_units=_UNITS,
        pool_share=_SHARE,
        credit_amount=_BIGINT,
        receipt_ids=_RECEIPTS,
    )
    statement = _object(
        id={"type": "string", "format": "uuid"},
        epochId=_BIGINT,
        finalAllocationSetHash={"type": "string", "pattern": "^[0-9a-f]{64}$"},
        poolTotalCredits=_BIGINT,
        statementLines=_list(line),
        supersedesStatementId={"type": ["string", "null"], "format": "uuid"},
        createdAt=_INSTANT,
    )
    epoch = _object(
        id=_BIGINT,
        status={"const": "finalized"},
        periodStart=_INSTANT,
        periodEnd=_INSTANT,
        weightConfig={"type": "object", "additionalProperties": {"type": "integer"}},
        poolTotalCredits=_MAYBE_BIGINT,
        openedAt=_INSTANT,
        closedAt=_MAYBE_INSTANT,
        createdAt=_INSTANT,
    )
    item = _object(
        claimantKey=_TEXT,
        claimant=claimant,
        displayName=_TEXT,
        isLinked={"type": "boolean", "description": "False where the share is reserved until the account is linked."},
        totalUnits=_UNITS,
        share=_SHARE,
        amountCredits=_BIGINT,
        receiptIds=_RECEIPTS,
    )
    return {
        "EpochList": _object(epochs=_list(epoch), total={"type": "integer"}),
        "StatementAnswer": _object(statement={"oneOf": [statement, {"type": "null"}]}),
        "ClaimantList": _object(epochId=_BIGINT, poolTotalCredits=_BIGINT, items=_list(item)),
        "Problem": _object(error=_TEXT),
    }
