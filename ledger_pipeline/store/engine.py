"""How we connect to Postgres: one engine, always psycopg 3, always UTC, and secrets that stay out of messages."""

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import Pool

from ledger_pipeline.core.errors import ConfigurationError

CONNECT_TIMEOUT_SECONDS = 10
SECRETS = ("password", "sslpassword")  # libpq takes them in a URL's query too, which a repr would show


def make_engine(url: str, *, poolclass: type[Pool] | None = None) -> Engine:
    """An engine for `postgresql://`, `postgres://` or `postgresql+psycopg://` URLs; connects when first used.

    Raises ConfigurationError, without the URL, when it cannot be read or is not for Postgres.
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
    query = {
        "application_name": "ledger-pipeline",
        "connect_timeout": str(CONNECT_TIMEOUT_SECONDS),
        **parsed.query,
        "options": f"{parsed.query.get('options', '')} -c TimeZone=UTC".strip(),
    }
    secrets = {key: query.pop(key) for key in SECRETS if key in query}
    return create_engine(
        parsed.set(drivername="postgresql+psycopg", query=query),
        connect_args=secrets,
        poolclass=poolclass,
        pool_pre_ping=True,
        hide_parameters=True,  # an error about one event would otherwise print the whole batch
    )


def describe(url: URL) -> str:
    """`host/database`, for messages."""
    host = url.host or url.query.get("host") or "local socket"
    return f"{host}/{url.database or ''}"
