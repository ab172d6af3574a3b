"""What `verify` and `export` start from: the rows of a finalized epoch, read from the ledger."""

from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.store.records import EpochStatus
from ledger_pipeline.verification.differences import Difference
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.record import EpochFacts

# The largest archive that anybody is asked to read.
MAX_MEGABYTES = 2000


def rows_of_statement(epoch_name: str, scope_key: str | None) -> tuple[EpochFacts, list[Difference], Scope]:
    """The epoch's rows but those set aside; each of these that verifies, so should have stayed; and its scope now."""
    # The ledger's libraries take seconds to load, and memory that an archive does without.
    from ledger_pipeline.cli.ledger_access import open_access
    from ledger_pipeline.pipeline.chain import statement_chain

    with open_access(scope_key) as access:
        epoch = access.epoch(epoch_name)
        if epoch.status is not EpochStatus.FINALIZED:
            raise EpochNotReady(
                f"epoch {epoch.window.key} is in {epoch.status.value}, and has no statement to verify: "
                f"`ledger-pipeline epoch show --epoch {epoch.window.key}` says what is next"
            )
        statements = access.ledger.statements
        chain = statement_chain(statements.node_id, access.scope, epoch, statements.history(epoch), audited=True)
        hidden = [Difference(f"set_asides {fault.row_id}", fault.problem) for fault in chain.wrongly_set_aside]
        return facts_of(statements.rows(epoch)), hidden, access.scope
