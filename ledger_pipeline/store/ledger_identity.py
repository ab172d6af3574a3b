"""Which ledger a database is: the same from wherever it is asked, and under whatever host name."""

from sqlalchemy import Engine, NullPool, text

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.store.database_errors import translated
from ledger_pipeline.store.engine import make_engine

_MAY_ASK = text("SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')")
_IDENTITY = text(
    "SELECT control.system_identifier || '/' || ours.oid"
    " FROM pg_catalog.pg_control_system() AS control, pg_catalog.pg_database AS ours"
    " WHERE ours.datname = pg_catalog.current_database()"
)


def ledger_id_of(engine: Engine) -> str | None:
    """The server's own number and the database's in it, `7449813207716265508/16385`: no secret, and not to be chosen.

    A standby has that of the server it follows, and so has a copy of the server's files; a dump that is restored
    elsewhere is another ledger. None where the server tells it to nobody like us. Raises StoreUnavailable.
    """
    with translated(engine), engine.connect() as connection:
        if not connection.execute(_MAY_ASK).scalar_one():
            return None
        return str(connection.execute(_IDENTITY).scalar_one())


def ledger_id_at(url: str, limits: DatabaseLimits) -> str | None:
    """`ledger_id_of` for the database at `url`, migrated or not. Raises ConfigurationError too, for a bad URL."""
    engine = make_engine(url, poolclass=NullPool, limits=limits)
    try:
        return ledger_id_of(engine)
    finally:
        engine.dispose()
