"""What of an epoch's rows an archive has: none of those that anybody who may write can add, and that sign nothing."""

from ledger_pipeline.verification.record import EpochFacts
from ledger_pipeline.verification.verify import Examination


def exported(facts: EpochFacts) -> tuple[EpochFacts, int]:
    """`facts` without the rows that are no approver's signature of anything, and how many statements' these were."""
    looked = Examination(facts)
    signatures = looked.statement_signatures()
    kept = facts.model_copy(update={"signatures": signatures, "inputs_signatures": looked.inputs_signatures()})
    return kept, len(facts.signatures) - len(signatures)
