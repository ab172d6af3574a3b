"""What nobody pinned equals nothing: a base issuance that an epoch did not close with joins by its owner's hand alone.

A component has what its algorithm asks for, inputs and evidence.
"""

from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None

IS_OWNER = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'public.epochs'::regclass), 'MEMBER')"
PINNED = "            IF pinned <> NEW.amount_credits::text THEN\n"
PINNED_OR_OWNER = f"""            IF pinned IS NULL AND NOT {IS_OWNER} THEN
                RAISE EXCEPTION 'INSERT into epoch_pool_components refused: epoch % closed with none, and a '
                    'base_issuance that was not pinned then is the owner''s to add', epoch.id
                    USING ERRCODE = 'restrict_violation';
            END IF;
{PINNED}"""
INPUTS = "            IF NEW.inputs_json ->> 'base_issuance_credits' <> NEW.amount_credits::text THEN\n"
SAME_INPUTS = """            IF to_jsonb(NEW.amount_credits::text)
                IS DISTINCT FROM NEW.inputs_json -> 'base_issuance_credits' THEN
"""
COUNTED = "        SELECT count(*) INTO NEW.attempt"
RESTS_ON = f"""        IF NEW.component_id <> 'base_issuance' AND NOT public.ledger_is_reason(NEW.evidence_ref) THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: a % needs evidence_ref, in characters that can '
                'be seen', NEW.component_id USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.component_id = 'kpi_bonus_v0' AND NEW.inputs_json = '{{}}' THEN
            RAISE EXCEPTION 'INSERT into epoch_pool_components refused: a % needs inputs, what it was computed from',
                NEW.component_id USING ERRCODE = 'check_violation';
        END IF;
{COUNTED}"""
STORED = "amount_credits::text <> pinned"
ANOTHER = "amount_credits::text IS DISTINCT FROM pinned"
SAYS = "'says %: put base_issuance_credits back until it is closed', NEW.id, stored, pinned"
SAYS_IF_ANY = "'says %: put base_issuance_credits back until it is closed', NEW.id, stored, coalesce(pinned, 'nothing')"
MOST = "(spec ->> 'base_issuance_credits')::numeric > 9223372036854775807 THEN"
MOST_OF_ONE = "(spec ->> 'base_issuance_credits')::numeric > 1000000000000000000 THEN"
MORE_THAN = "'the base_issuance_credits of pinned_spec are more than a BIGINT'"
MORE_THAN_ONE = "'the base_issuance_credits of pinned_spec are more than 10^18'"
PINS = "ledger_pins_problem(uuid, jsonb, text, text, text, jsonb)"
FINITE = "IF NOT isfinite(given.period_start) OR NOT isfinite(given.period_end) THEN"
FINITE_AND_GIVEN = "IF (isfinite(given.period_start) AND isfinite(given.period_end)) IS NOT TRUE THEN"
OTHER_NODE, ANY_OTHER_NODE = "NEW.node_id <> epoch.node_id", "NEW.node_id IS DISTINCT FROM epoch.node_id"
OF_OTHER, OF_ANY_OTHER = "of_node <> NEW.node_id", "of_node IS DISTINCT FROM NEW.node_id"
MAKE = "ledger_make_epochs(uuid, uuid, timestamptz[], timestamptz[], jsonb)"
CHANGES = (
    (MAKE, FINITE, FINITE_AND_GIVEN),
    ("ledger_lock_pool()", OTHER_NODE, ANY_OTHER_NODE),
    ("ledger_guard_set_aside()", OTHER_NODE, ANY_OTHER_NODE),
    ("ledger_refuse_other_node()", OF_OTHER, OF_ANY_OTHER),
    ("ledger_refuse_other_nodes_statement()", OF_OTHER, OF_ANY_OTHER),
    ("ledger_lock_pool()", PINNED, PINNED_OR_OWNER),
    ("ledger_lock_pool()", INPUTS, SAME_INPUTS),
    ("ledger_lock_pool()", COUNTED, RESTS_ON),
    ("ledger_guard_pinned_pool()", STORED, ANOTHER),
    ("ledger_guard_pinned_pool()", SAYS, SAYS_IF_ANY),
    (PINS, MOST, MOST_OF_ONE),
    (PINS, MORE_THAN, MORE_THAN_ONE),
)


def upgrade() -> None:
    for function, before, after in CHANGES:
        _rewrite(function, before, after)


def downgrade() -> None:
    for function, before, after in reversed(CHANGES):
        _rewrite(function, after, before)


def _rewrite(function: str, before: str, after: str) -> None:
    definition = op.get_bind().exec_driver_sql("SELECT pg_get_functiondef(%s::regprocedure)", (f"public.{function}",))
    source: str = definition.scalar_one()
    if source.count(before) != 1:
        raise AssertionError(f"{function} is not what the migration before left: {before}")
    op.get_bind().exec_driver_sql(source.replace(before, after).replace("%", "%%"))
