"""Who may do what: the owner migrates, the writer adds facts, readers read, the web server reads what is finalized.

Here all but the owner get their logins. What each may do is granted to the group roles `ledger_writer`,
`ledger_reader` and `ledger_web`, by migrations.
"""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, NullPool, make_url, text

from ledger_pipeline.core.errors import ConfigurationError, StoreError
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import describe, make_engine

WRITER = "ledger_writer"
READER = "ledger_reader"
WEB = "ledger_web"
ADVISORY_LOCK = 0x6C656467_65720002  # "ledger", 2

_COULD_ACT_AS_OWNER = text("""
    SELECT pg_has_role(:login, current_user, 'MEMBER') OR EXISTS (
        SELECT FROM pg_tables
        WHERE schemaname = 'public' AND tablename = 'activity_events' AND pg_has_role(:login, tableowner, 'MEMBER')
    )
""")


def ensure_logins(owner_url: str, logins: Mapping[str, str]) -> None:
    """Make the user of each URL in `logins`, by group role, a login that is a member of it; as the owner.

    A login that is missing is made with the URL's password; one that is there keeps its own. Safe to repeat and to
    run twice at once. Raises ConfigurationError where a URL names no user, or one who could act as the owner;
    StoreError, saying what an administrator must do, where the owner may not make roles.
    """
    engine = make_engine(owner_url, poolclass=NullPool)
    with translated(engine), engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        for group, url in logins.items():
            _ensure_login(connection, group, make_url(url))


def _ensure_login(connection: Connection, group: str, url: URL) -> None:
    login = url.username
    if not login:
        raise ConfigurationError(f"the URL of the {group} names no user: write postgresql://USER:password@host/name")
    try:
        _make_role(connection, group, sql.SQL("NOLOGIN"))
        _make_role(connection, login, sql.SQL("LOGIN") + _password(connection, login, url.password))
        if connection.scalar(_COULD_ACT_AS_OWNER, {"login": login}):
            raise ConfigurationError(
                f"{login} is, or may become, the owner of the ledger in {describe(connection.engine.url)}: "
                f"a {group} must not be, name another user in its URL"
            )
        member = text("SELECT pg_has_role(:login, :group, 'USAGE')")
        if not connection.scalar(member, {"login": login, "group": group}):
            grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(login))
            _driver(connection).execute(grant)
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreError(
            f"{describe(connection.engine.url)}: {connection.engine.url.username} may not make {login} a {group}; "
            f"as an administrator: CREATE ROLE {login} LOGIN; GRANT {group} TO {login}"
        ) from error


def _make_role(connection: Connection, name: str, attributes: sql.Composable) -> None:
    if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": name}):
        return
    driver = _driver(connection)
    try:
        with driver.transaction():
            driver.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), attributes))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return  # roles are the whole server's: another of its databases made it just now


def _password(connection: Connection, login: str, password: str | None) -> sql.Composable:
    """The password as the server keeps it: the plain one would appear in a log of statements."""
    if not password:
        return sql.SQL("")
    verifier = _driver(connection).pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    return sql.SQL(" PASSWORD {}").format(sql.Literal(verifier.decode()))


def _driver(connection: Connection) -> Any:
    """psycopg's own connection, which quotes names and takes statements without parameters as they are."""
    return connection.connection.driver_connection
