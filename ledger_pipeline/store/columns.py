"""What the ledger's tables are made of: columns, and the rules that every column of a type keeps."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Constraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

# The names Postgres itself gives.
metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)

# Longer than other text: what a person or a source says.
LONG_TEXTS = ("artifact_url", "platform_login", "note", "override_reason", "evidence_ref", "reason", "unread_reason")
INSTANT = TIMESTAMP(timezone=True)
NOW = text("now()")


def table(name: str, *parts: Column[Any] | Constraint | Index) -> Table:
    """A table of the ledger, each of whose columns keeps what holds of every column of its type."""
    made = Table(name, metadata, *parts)
    for column in made.columns:
        for rule in _rules(column):
            made.append_constraint(rule)
    return made


def row_id() -> Column[Any]:
    """The id of a row that has no natural one: made by the database, at random."""
    return Column("id", Uuid, primary_key=True, server_default=text("gen_random_uuid()"))


def since(name: str) -> Column[Any]:
    """The instant at which a row was made, by the database's clock."""
    return Column(name, INSTANT, nullable=False, server_default=NOW)


def required(name: str, type_: Any = Text, *more: Any, **options: Any) -> Column[Any]:
    """A column that is never NULL; text where nothing else is said."""
    return Column(name, type_, *more, nullable=False, **options)


def scope_key(*names: str) -> tuple[Column[Any], ...]:
    """A primary key, or what it begins with: the scope of a node, and texts that tell apart what is of it."""
    of_scope = (Column(name, Uuid, primary_key=True) for name in ("node_id", "scope_id"))
    return (*of_scope, *(Column(name, Text, primary_key=True) for name in names))


def json(name: str, kind: str = "object", *, longest_kilobytes: int = 64, nullable: bool = False) -> Column[Any]:
    """A column of plain JSON: an object, an array or payouts, as `kind` says, no longer than that."""
    return Column(name, JSONB, nullable=nullable, info={"kind": kind, "longest_bytes": 1000 * longest_kilobytes})


def _rules(column: Column[Any]) -> Iterator[CheckConstraint]:
    if column.type is INSTANT:
        readable = f"{column.name} BETWEEN timestamptz '1970-01-01Z' AND timestamptz '2999-12-31Z'"
        yield CheckConstraint(readable, name=f"{column.name}_instant")
    if isinstance(column.type, Uuid) and column.name == "id":
        yield CheckConstraint("id <> '00000000-0000-0000-0000-000000000000'::uuid", name="id")
    if isinstance(column.type, Text):
        longest = 10_000 if column.name in LONG_TEXTS else 1_000
        yield CheckConstraint(f"char_length({column.name}) <= {longest}", name=f"{column.name}_length")
    if isinstance(column.type, Integer) and column.name not in ("id", "epoch_id"):
        yield CheckConstraint(f"{column.name} >= 0", name=f"{column.name}_sign")
    if isinstance(column.type, JSONB):
        rule = f"ledger_is_plain_json({column.name}, '{column.info['kind']}', {column.info['longest_bytes']})"
        if column.info["kind"] == "payouts":
            rule = f"ledger_is_payouts({column.name})"
        yield CheckConstraint(rule, name=f"{column.name}_json")
