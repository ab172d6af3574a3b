"""An approver's signature of what a statement follows from, beside that of the statement."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from ledger_pipeline.core.errors import WrongSignature
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.statements import inputs_message
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.statement_records import EpochRows, InputsSignature, Settlement
from ledger_pipeline.wallets import recover_signer


@dataclass(frozen=True)
class SignedInputs:
    """A signature of what a statement follows from; `root_of` gives the root (hex) of the rows it would follow from."""

    signature: str
    root_of: Callable[[EpochRows], str]


def inputs_signature(
    node_id: UUID, epoch: Epoch, settlement: Settlement, message: str, signer: str, inputs: SignedInputs | None
) -> InputsSignature | None:
    """`inputs` as it is kept, once it is `signer`'s and of the rows of this moment. Raises WrongSignature."""
    if inputs is None:
        return None
    root = inputs.root_of(settlement.rows())
    signature = canonical_signature(inputs.signature)
    inputs_signer = recover_signer(
        inputs_message(
            node_id=node_id,
            scope_id=epoch.scope_id,
            epoch_id=epoch.id,
            inputs_root=root,
            statement_message=message,
        ),
        signature,
    )
    if inputs_signer != signer:
        raise WrongSignature(
            f"the signature of the inputs is not {signer}'s over their root {root}: sign what "
            "`ledger-pipeline epoch sign-data --inputs` prints now"
        )
    return InputsSignature(root, signature)
