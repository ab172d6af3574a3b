"""Which ledger a database is: the same for each login and address, another for each database."""

from sqlalchemy import make_url

from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.store.ledger_identity import ledger_id_at
from ledger_pipeline.store.roles import READER, WRITER, ensure_logins

LIMITS = DatabaseLimits()


def _login(url: str, name: str) -> str:
    return make_url(url).set(username=name, password=None).render_as_string(hide_password=False)


def test_a_ledger_is_the_same_for_owner_writer_and_reader_and_no_other_database_is(
    ledger_url: str, empty_database_url: str
) -> None:
    logins = {WRITER: _login(ledger_url, "identity_writer"), READER: _login(ledger_url, "identity_reader")}
    ensure_logins(ledger_url, logins)
    ledger_id = ledger_id_at(ledger_url, LIMITS)
    assert ledger_id is not None
    assert {ledger_id_at(url, LIMITS) for url in logins.values()} == {ledger_id}
    other_id = ledger_id_at(empty_database_url, LIMITS)
    assert other_id is not None
    assert other_id != ledger_id
    assert other_id.partition("/")[0] == ledger_id.partition("/")[0]  # one server
