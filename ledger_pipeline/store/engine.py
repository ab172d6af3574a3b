"""How we connect to Postgres: one engine, always psycopg 3, always UTC, never without limits, and secrets that stay
out of messages."""

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import Pool

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.core.errors import ConfigurationError
from ledger_pipeline.core.stored_json import read_json
from ledger_pipeline.store.bounded_connection import BoundedConnection

SECRETS = ("password", "sslpassword")  # libpq takes them in a URL's query too, which a repr would show
KEPT_CONNECTIONS = 5  # of a pool, when nothing is asked
# Servers before 17 refuse a connection that names it; asked for later, it may have ended the connection by then.
NEWER = "transaction_timeout"
# What our statements rest on, and a role's own settings could have otherwise.
SESSION = {
    "role": "none",
    "search_path": "public",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "bytea_output": "hex",
    "transform_null_equals": "off",
    "row_security": "on",
    "exit_on_error": "off",
    "idle_session_timeout": "0",
    "local_preload_libraries": "",
    "temp_buffers": "8MB",
}
# The session of who may see what is finalized and nothing else, whoever logs in: a migration made role and schema.
FINALIZED_ALONE = {
    **SESSION,
    "role": "ledger_web",
    "search_path": "finalized,public",
    "default_transaction_read_only": "on",
}


def make_engine(
    url: str,
    *,
    poolclass: type[Pool] | None = None,
    limits: DatabaseLimits | None = None,
    session: Mapping[str, str] = SESSION,
) -> Engine:
    """An engine for `postgresql://`, `postgres://` or `postgresql+psycopg://` URLs; connects when first used.

    `limits` are DatabaseLimits() where none are given; what the URL's query says wins over them and over
    `session`, the settings that every connection begins with. Raises ConfigurationError, without the URL, when it
    cannot be read or is not for Postgres.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The parser's own message may quote a part of the password, as when an unescaped `@` splits it.
        raise ConfigurationError(
            "the database URL cannot be read: write postgresql://user:password@host/name"
        ) from None
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise ConfigurationError(f"the ledger lives in Postgres, not {parsed.get_backend_name()}: use postgresql://")
    if "@" in (parsed.database or ""):
        raise ConfigurationError("the database URL's password holds a character to write as %2F, %40 or %3A")
    limits = limits or DatabaseLimits()
    given_options = str(parsed.query.get("options", ""))
    query = {
        "application_name": "ledger-pipeline",
        **limits.tcp(),
        **parsed.query,
        # Of an option that is named twice the last one counts.
        "options": f"{_server_options(limits, session)} {given_options} -c TimeZone=UTC".replace("  ", " "),
    }
    secrets = {key: query.pop(key) for key in SECRETS if key in query}
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg", query=query),
        connect_args=secrets,
        poolclass=poolclass,
        pool_pre_ping=True,
        json_deserializer=read_json,
        hide_parameters=True,  # an error about one event would otherwise print the whole batch
        **({} if poolclass is NullPool else _pool_options(limits)),
    )
    answer_seconds = _answer_seconds(limits, given_options)
    newer = f"-c {NEWER}=0"

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> BoundedConnection:
        nonlocal newer
        try:
            asked = {**options, "options": f"{newer} {options['options']}"}
            connection = BoundedConnection.connect(*arguments, **asked)
        except psycopg.OperationalError as error:
            if not newer or NEWER not in str(error):
                raise
            newer = ""
            connection = BoundedConnection.connect(*arguments, **options)
        connection.answer_seconds = answer_seconds
        return connection

    return engine


def describe(url: URL) -> str:
    """`host/database`, for messages."""
    host = url.host or url.query.get("host") or "local socket"
    return f"{host}/{url.database or ''}"


def _server_options(limits: DatabaseLimits, session: Mapping[str, str]) -> str:
    # Whoever has a login may change what its sessions begin with (ALTER ROLE); what a connection asks for wins.
    fixed = " ".join(f"-c {name}={value}" for name, value in session.items())
    return (
        f"{fixed} "
        # The ledger takes facts under READ COMMITTED alone, whatever the database has for its default.
        r"-c default_transaction_isolation=read\ committed "
        f"-c statement_timeout={limits.statement_seconds}s -c lock_timeout={limits.lock_seconds}s "
        f"-c idle_in_transaction_session_timeout={limits.idle_in_transaction_seconds}s"
    )


def _pool_options(limits: DatabaseLimits) -> dict[str, int]:
    kept = min(KEPT_CONNECTIONS, limits.pool_size)
    return {"pool_size": kept, "max_overflow": limits.pool_size - kept, "pool_timeout": limits.pool_wait_seconds}


def _answer_seconds(limits: DatabaseLimits, given_options: str) -> float | None:
    """How long an answer is waited for; None for ever, where a statement may take for ever."""
    statement_seconds: float = limits.statement_seconds
    for number, unit in re.findall(r"statement_timeout\s*=\s*'?(\d+)\s*(ms|s|min|h|d)?", given_options):
        seconds_of_unit = {"ms": 0.001, "": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}
        statement_seconds = int(number) * seconds_of_unit[unit]
    if not statement_seconds or not limits.silence_seconds:
        return None
    return statement_seconds + limits.silence_seconds
