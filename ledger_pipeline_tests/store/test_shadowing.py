"""What the triggers compare is compared by the catalogue's operators, whatever a writer puts beside them.

On Postgres 14, and in a database upgraded from it, everybody may make functions and operators in `public`.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url, text

from ledger_pipeline.store import migrations
from ledger_pipeline.store.engine import make_engine
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.store.roles import READER, WRITER, ensure_logins
from ledger_pipeline_tests.builders import NODE_ID, SCOPE_ID, window
from ledger_pipeline_tests.postgres import OPEN_TO_ALL, set_status
from ledger_pipeline_tests.store.settlement import refused
from ledger_pipeline_tests.store.test_roles import urls

# Each fits exactly what a trigger calls or compares, and so would be preferred to the catalogue's for any type.
SHADOWS = (
    "CREATE FUNCTION public.array_position(text[], text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION public.never(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false'",
    "CREATE OPERATOR public.< (LEFTARG = int, RIGHTARG = int, FUNCTION = public.never)",
    "CREATE FUNCTION public.never(text, text) RETURNS bool LANGUAGE sql AS 'SELECT false'",
    "CREATE OPERATOR public.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = public.never)",
    "CREATE FUNCTION public.always(jsonb, jsonb) RETURNS bool LANGUAGE sql AS 'SELECT true'",
    "CREATE OPERATOR public.= (LEFTARG = jsonb, RIGHTARG = jsonb, FUNCTION = public.always)",
    "CREATE TABLE public.pg_epochs (LIKE public.epochs)",
)
LOOKED_IN = """
    SELECT proname, (SELECT setting FROM unnest(proconfig) AS setting WHERE starts_with(setting, 'search_path='))
    FROM pg_proc JOIN pg_language ON pg_language.oid = prolang
    WHERE pronamespace = 'public'::regnamespace AND lanname <> 'internal'  -- as those of uuid_range are
"""
BACK = "UPDATE epochs SET status = 'open'"


@pytest.fixture
def upgraded_engine(empty_database_url: str) -> Iterator[Engine]:
    """The owner of a ledger in a database of Postgres 14's, in which a writer shadowed what an older release used."""
    engine = make_engine(empty_database_url)
    with engine.begin() as connection:
        connection.execute(text(OPEN_TO_ALL))
    migrations.upgrade(empty_database_url, "0030")
    ensure_logins(empty_database_url, urls(empty_database_url))
    writer = make_engine(urls(empty_database_url)[WRITER])
    with writer.begin() as connection:
        for shadow in SHADOWS:
            connection.execute(text(shadow))
    writer.dispose()
    yield engine
    engine.dispose()


@pytest.fixture
def upgraded_writer(upgraded_engine: Engine, empty_database_url: str) -> Iterator[Engine]:
    """Its writer, who looks into `public` first."""
    url = make_url(urls(empty_database_url)[WRITER]).update_query_dict({"options": "-c search_path=public,pg_catalog"})
    engine = make_engine(url.render_as_string(hide_password=False))
    yield engine
    engine.dispose()


def test_a_finalized_epoch_is_not_opened_by_operators_of_the_writers_own(
    upgraded_engine: Engine, upgraded_writer: Engine, empty_database_url: str
) -> None:
    migrations.upgrade(empty_database_url)
    ledger = PostgresLedger(upgraded_engine, NODE_ID)
    ledger.epochs.ensure(SCOPE_ID, [window()], {"github:pr_merged": 1})
    set_status(upgraded_engine, SCOPE_ID, window(), EpochStatus.FINALIZED)
    assert "status only moves forward, not from finalized to open" in refused(upgraded_writer, BACK)
    assert "permission denied" in refused(upgraded_writer, """UPDATE epochs SET weight_config = '{"x": 2}'""")


def test_nobody_but_the_owner_makes_objects_in_the_ledgers_schema(
    upgraded_engine: Engine, upgraded_writer: Engine, empty_database_url: str
) -> None:
    migrations.upgrade(empty_database_url)
    message = refused(upgraded_writer, "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert message == "permission denied for schema public"
    with upgraded_engine.connect() as connection:
        may = "SELECT role FROM unnest(ARRAY['public', :writer, :reader]) AS role"
        rows = connection.scalars(
            text(f"{may} WHERE has_schema_privilege(role, 'public', 'CREATE')"), {"writer": WRITER, "reader": READER}
        )
        assert rows.all() == []


def test_every_function_of_the_ledger_says_where_it_looks(ledger_engine: Engine) -> None:
    with ledger_engine.connect() as connection:
        looked_in = {str(name): path for name, path in connection.execute(text(LOOKED_IN))}
    assert looked_in
    assert looked_in == dict.fromkeys(looked_in, "search_path=pg_catalog, pg_temp")


def test_no_function_that_catches_errors_is_given_to_parallel_workers(ledger_engine: Engine) -> None:
    """Before Postgres 17 a worker that begins a subtransaction ends the whole statement."""
    with ledger_engine.connect() as connection:
        catching = connection.execute(
            text(
                "SELECT proname, proparallel FROM pg_proc WHERE prosrc ~* 'EXCEPTION\\s+WHEN' AND proname ~ '^ledger_'"
            )
        ).all()
    assert len(catching) > 0
    assert [name for name, parallel in catching if parallel == "s"] == []
