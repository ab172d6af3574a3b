"""The credits an epoch shares out: immutable components, locked when it goes to review."""

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.pool import NewPoolComponent
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.section import LedgerSection
from ledger_pipeline.store.settlement_records import PoolComponent

ADD = text("""
    INSERT INTO epoch_pool_components
        (node_id, epoch_id, component_id, algorithm_version, inputs_json, amount_credits, evidence_ref)
    SELECT :node_id, :epoch_id, :component_id, :algorithm_version, :inputs, :amount_credits, :evidence_ref
    WHERE NOT EXISTS (
        SELECT FROM epoch_pool_components AS component
        WHERE epoch_id = :epoch_id AND component_id = :component_id AND NOT EXISTS (
            SELECT FROM set_asides WHERE pool_component_id = component.id
        )
    )
    ON CONFLICT (epoch_id, component_id, attempt) DO NOTHING
""").bindparams(bindparam("inputs", type_=JSONB))
COMPONENTS = text("""
    SELECT component_id, algorithm_version, inputs_json AS inputs, amount_credits, evidence_ref, computed_at, id
    FROM epoch_pool_components AS component WHERE node_id = :node_id AND epoch_id = :epoch_id AND NOT EXISTS (
        SELECT FROM set_asides WHERE pool_component_id = component.id
    )
    ORDER BY component_id COLLATE "C"
""")


class Pool(LedgerSection):
    """The pools of a node's epochs."""

    def add(self, epoch: Epoch, component: NewPoolComponent) -> bool:
        """Add a component once; False where the very same is there.

        Raises EpochNotReady where another of that name is there: components never change. A pool that is locked takes
        none, whoever asks: StoreError.
        """
        with self._transaction() as connection:
            if add_component(connection, self.node_id, epoch.id, component):
                return True
            stored = {component.component_id: component for component in components(connection, self.node_id, epoch.id)}
        there = stored[component.component_id]
        same = (there.algorithm_version, there.inputs, there.amount_credits, there.evidence_ref)
        if same != (component.algorithm_version, component.inputs, component.amount_credits, component.evidence_ref):
            raise EpochNotReady(
                f"epoch {epoch.window.key} has a {component.component_id} of {there.amount_credits} credits already, "
                "and components never change"
            )
        return False

    def of(self, epoch: Epoch) -> list[PoolComponent]:
        """The epoch's components but those set aside, by name."""
        with self._transaction() as connection:
            return components(connection, self.node_id, epoch.id)


def add_component(connection: Connection, node_id: object, epoch_id: int, component: NewPoolComponent) -> bool:
    """Whether the component was added; one of its name that is there stays."""
    parameters = {
        "node_id": node_id,
        "epoch_id": epoch_id,
        "component_id": component.component_id,
        "algorithm_version": component.algorithm_version,
        "inputs": dict(component.inputs),
        "amount_credits": component.amount_credits,
        "evidence_ref": component.evidence_ref,
    }
    return connection.execute(ADD, parameters).rowcount == 1


def components(connection: Connection, node_id: object, epoch_id: int) -> list[PoolComponent]:
    """An epoch's components but those set aside, by name."""
    rows = connection.execute(COMPONENTS, {"node_id": node_id, "epoch_id": epoch_id})
    return [PoolComponent(**row._mapping) for row in rows]
