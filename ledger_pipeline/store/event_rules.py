"""What the database refuses of events, whatever their source: kinds that nobody knows, and events whose id, hash or
time do not follow from what they are of.

The rules came with migrations. Where they are not of the sources that the registry has, the end of a `db upgrade`
writes them anew: a further source needs no migration, and one that is gone writes no more. What is stored stays.
"""

import re
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, text

from ledger_pipeline.core.sources import SourceKind, StreamKind, source_kinds

# What Postgres and Python read alike: they differ on hour 24, second 60 and a seventh digit.
_INSTANT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_OWNS = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'public.epochs'::regclass), 'MEMBER')"
_PAIR = re.compile(r"\('([^']+)', '([^']+)'\)")
_SAFE = "SET search_path = pg_catalog, pg_temp"


def bring_event_rules(connection: Connection) -> None:
    """Have the database know the sources there are, and no others; for its owner, at the newest migration."""
    kinds = source_kinds()
    rule = str(
        connection.scalar(text("SELECT prosrc FROM pg_proc WHERE oid = 'ledger_refuse_unknown_sources'::regproc"))
    )
    if set(_PAIR.findall(rule)) == {(kind.name, stream.event_type) for kind in kinds for stream in kind.streams}:
        return
    for statement in _statements(kinds):
        connection.exec_driver_sql(statement.replace("%", "%%"))


def _statements(kinds: Sequence[SourceKind]) -> Iterator[str]:
    pairs = ", ".join(f"({_text(kind.name)}, {_text(stream.event_type)})" for kind in kinds for stream in kind.streams)
    yield f"""
        CREATE OR REPLACE FUNCTION ledger_refuse_unknown_sources() RETURNS trigger LANGUAGE plpgsql {_SAFE} AS $$
        DECLARE
            event record;
        BEGIN
            SELECT id, source, event_type INTO event FROM inserted WHERE (source, event_type) NOT IN ({pairs}) LIMIT 1;
            IF FOUND AND NOT {_OWNS} THEN
                RAISE EXCEPTION 'INSERT into activity_events refused: no % of source % is known, as event % is one',
                    event.event_type, event.source, event.id USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """  # noqa: S608 (our own statement)
    # It catches errors, which no parallel worker of Postgres before 17 may.
    yield f"""
        CREATE OR REPLACE FUNCTION ledger_is_event(
            id text, event_type text, platform_user_id text, metadata jsonb, payload_hash text, event_time timestamptz
        ) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL RESTRICTED {_SAFE} AS $$
        DECLARE
            instant text;
            hashed text;
        BEGIN
            CASE event_type
            {"".join(_case(stream) for kind in kinds for stream in kind.streams)}
            ELSE
                RETURN false;
            END CASE;
            IF instant IS NULL OR instant !~ {_text(_INSTANT)} THEN
                RETURN false;
            END IF;
            RETURN encode(sha256(convert_to(hashed, 'UTF8')), 'hex') = payload_hash
                AND instant::timestamptz = event_time;
        EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
            RETURN false;
        END $$
    """
    yield f"""
        CREATE OR REPLACE FUNCTION ledger_refuse_unfounded_events() RETURNS trigger LANGUAGE plpgsql {_SAFE} AS $$
        DECLARE
            broken text;
        BEGIN
            IF {_OWNS} THEN
                RETURN NULL;
            END IF;
            SELECT id INTO broken FROM inserted WHERE NOT public.ledger_is_event(
                id, event_type, platform_user_id, metadata, payload_hash, event_time
            ) LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into activity_events refused: id, hash or time of event "%" do not follow from '
                    'what it is of, so nobody could recompute it', regexp_replace(broken, '[^ -~]', '?', 'g')
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """  # noqa: S608 (our own statement)


def _case(stream: StreamKind) -> str:
    """Where id and metadata are those of the stream: the event's instant, and the canonical JSON of its hash."""
    given = {key: f"metadata ->> {_text(key)}" for key in stream.hashed_metadata}
    values = {"authorId": "platform_user_id", "id": "id", **given}
    members = " || ',' || ".join(f"""'"{key}":' || to_json({values[key]})""" for key in sorted(values))
    strings = " AND ".join(f"jsonb_typeof(metadata -> {_text(key)}) = 'string'" for key in stream.hashed_metadata)
    return f"""
            WHEN {_text(stream.event_type)} THEN
                IF id ~ {_text(stream.event_id)} AND {strings} THEN
                    instant := metadata ->> {_text(stream.hashed_metadata[-1])};
                    hashed := '{{' || {members} || '}}';
                END IF;"""


def _text(value: str) -> str:
    """A literal of SQL."""
    return "'" + value.replace("'", "''") + "'"
