"""No event is written that nobody can recompute: of whoever may write, its id, hash and time follow from what it is of.

One that did not was signed over, and its epoch never verified. Rows of before stay; what of them counts is named before
anybody signs.
"""

from alembic import op

revision = "0063"
down_revision = "0062"
branch_labels = None
depends_on = None

NAME = "[!-.0-9;-~]+"  # printable ASCII but for the slash and the colon, which separate
# What each kind's id looks like, and what its hash is of, in order: as `core/events.py` has it, and a test compares.
KINDS = {
    "pr_merged": (f"^github:pr:{NAME}/{NAME}:[1-9][0-9]*$", ("id", "mergedAt")),
    "review_submitted": (f"^github:review:{NAME}/{NAME}:[1-9][0-9]*:[1-9][0-9]*$", ("id", "state", "submittedAt")),
    "issue_closed": (f"^github:issue:{NAME}/{NAME}:[1-9][0-9]*$", ("closedAt", "id")),
}
# What Postgres and Python read alike: they differ on hour 24, second 60 and a seventh digit.
INSTANT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
EVENT = "text, text, text, jsonb, text, timestamptz"
OWNS = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'public.epochs'::regclass), 'MEMBER')"


def upgrade() -> None:
    kinds = "\n".join(_kind(event_type) for event_type in KINDS)
    op.execute(f"""
        CREATE FUNCTION ledger_is_event(
            id text, event_type text, platform_user_id text, metadata jsonb, payload_hash text, event_time timestamptz
        ) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            instant text;
            hashed text;
        BEGIN
            CASE event_type
{kinds}
            ELSE
                RETURN false;
            END CASE;
            IF instant IS NULL OR instant !~ '{INSTANT}' THEN
                RETURN false;
            END IF;
            hashed := '{{"authorId":' || to_json(platform_user_id) || hashed || '}}';
            RETURN encode(sha256(convert_to(hashed, 'UTF8')), 'hex') = payload_hash
                AND instant::timestamptz = event_time;
        EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format OR invalid_time_zone_displacement_value THEN
            RETURN false;
        END $$
    """)
    op.execute(f"""
        CREATE FUNCTION ledger_refuse_unfounded_events() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        DECLARE
            broken text;
        BEGIN
            IF {OWNS} THEN
                RETURN NULL;
            END IF;
            SELECT id INTO broken FROM inserted WHERE source = 'github' AND NOT public.ledger_is_event(
                id, event_type, platform_user_id, metadata, payload_hash, event_time
            ) LIMIT 1;
            IF FOUND THEN
                RAISE EXCEPTION 'INSERT into activity_events refused: id, hash or time of event "%" do not follow from '
                    'what it is of, so nobody could recompute it', regexp_replace(broken, '[^ -~]', '?', 'g')
                    USING ERRCODE = 'check_violation';
            END IF;
            RETURN NULL;
        END $$
    """)  # noqa: S608 (our own statement)
    op.execute("""
        CREATE TRIGGER activity_events_recomputable AFTER INSERT ON activity_events
            REFERENCING NEW TABLE AS inserted
            FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_unfounded_events()
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER activity_events_recomputable ON activity_events")
    op.execute("DROP FUNCTION ledger_refuse_unfounded_events()")
    op.execute(f"DROP FUNCTION ledger_is_event({EVENT})")


def _kind(event_type: str) -> str:
    shape, keys = KINDS[event_type]
    instant = next(key for key in keys if key.endswith("At"))
    strings = " AND ".join(f"jsonb_typeof(metadata -> '{key}') = 'string'" for key in keys if key != "id")
    values = {key: "id" if key == "id" else f"metadata ->> '{key}'" for key in keys}
    hashed = " || ".join(f"""',"{key}":' || to_json({values[key]})""" for key in keys)
    return f"""
            WHEN '{event_type}' THEN
                IF id ~ '{shape}' AND {strings} THEN
                    instant := metadata ->> '{instant}';
                    hashed := {hashed};
                END IF;"""
