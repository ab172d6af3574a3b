"""Every row of the ledger as text, but for what no two databases share: numbers drawn on insert, and the clock then."""

from sqlalchemy import Engine, text

NOT_COMPARED = {
    "epochs": ("id", "created_at", "opened_at", "closed_at"),
    "activity_events": ("ingested_at",),
    "event_facts": ("recorded_at", "observed_at"),
    "rejected_events": ("id", "epoch_id", "rejected_at"),
    "source_cursors": (),
    "skipped_activity": ("recorded_at",),
    "scan_receipts": ("id", "recorded_at"),
    "scan_checkpoints": (),
    "unread_items": (),
    "listed_source_scopes": (),
}

Tables = dict[str, list[str]]


def read_tables(engine: Engine, *without: str) -> Tables:
    """The rows of each table, sorted; `without` these columns either."""
    with engine.connect() as connection:
        return {
            table: sorted(
                connection.scalars(
                    text(f"SELECT (to_jsonb(row) - CAST(:without AS text[]))::text FROM {table} AS row"),
                    {"without": [*columns, *without]},
                )
            )
            for table, columns in NOT_COMPARED.items()
        }


def differences(some: Tables, others: Tables) -> list[str]:
    """Rows that only one side has."""
    return [
        f"{table} {side} {row}"
        for table in some
        for side, mine, theirs in (("<", some[table], others[table]), (">", others[table], some[table]))
        for row in mine
        if mine.count(row) > theirs.count(row)
    ]
