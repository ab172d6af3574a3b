"""The asset `payout_statement` and its law, `statement_recomputes`. Only epochs that are finalized ever turn green."""

import warnings
from collections.abc import Iterator

import dagster as dg

from ledger_pipeline.core.approvals import Approvals
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.dagster_contract import STATEMENT_RECOMPUTES
from ledger_pipeline.defs.keys import EPOCH, PAYOUT_STATEMENT
from ledger_pipeline.defs.materializations import materialized
from ledger_pipeline.defs.metadata import run_trigger
from ledger_pipeline.defs.partition_checks import check_outputs, evaluation, latest_materializations
from ledger_pipeline.defs.partitions import partition_key
from ledger_pipeline.defs.resources import Clock, LedgerResource, SettingsResource
from ledger_pipeline.defs.settlement import GROUP, OWNERS, epochs_of_run
from ledger_pipeline.defs.settlement_states import statement_state
from ledger_pipeline.defs.step_failures import Failed, domain_failures
from ledger_pipeline.pipeline.approvals import approvals_of
from ledger_pipeline.pipeline.chain import statement_chain
from ledger_pipeline.pipeline.epoch_checks import statement_recomputes
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.verify import verify


def payout_statement(partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    """What each finalized epoch pays: a materialization of its own for each, and none for one that is not yet.

    So a run over a range, of which some are not finalized, leaves those as they are.
    """
    with warnings.catch_warnings():
        # A check's partitions are in preview; without them one partition's result would hide another's.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        check = dg.AssetCheckSpec(
            STATEMENT_RECOMPUTES,
            asset=PAYOUT_STATEMENT,
            blocking=True,
            partitions_def=partitions,
            description=(
                "Events, curation, allocations, payouts, hashes and signatures follow from each other, from stored "
                "rows alone. An error, and blocking: nobody is to be paid by numbers that do not."
            ),
        )

    @dg.multi_asset(
        name="payout_statement",
        specs=[
            dg.AssetSpec(
                PAYOUT_STATEMENT,
                description="A row is a signed statement of who gets which credits of an epoch's pool.",
                group_name=GROUP,
                owners=OWNERS,
                kinds={"postgres"},
                deps=[EPOCH],
                skippable=True,
            )
        ],
        check_specs=[check],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def payout_statement(
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[SettingsResource],
        ledger: dg.ResourceParam[LedgerResource],
        clock: dg.ResourceParam[Clock],
    ) -> Iterator[dg.AssetCheckEvaluation | dg.DagsterEvent | dg.Output[None]]:
        wrong = []
        with domain_failures(), ledger.open() as store:
            for scope, epochs in epochs_of_run(store, settings.repo_spec(), context.partition_keys, clock.now()):
                for epoch in epochs:
                    key = partition_key(epoch.window, scope)
                    history = store.statements.history(epoch)
                    if not history.statements:
                        if PAYOUT_STATEMENT in context.selected_asset_keys:
                            settlement = store.statements.settlement(epoch)
                            approvals = approvals_of(store.node_id, scope, epoch, settlement)
                            context.log_event(_no_statement(key, epoch, approvals))
                        continue
                    chain = statement_chain(store.node_id, scope, epoch, history, audited=True)
                    differences = [
                        *map(str, verify(facts_of(store.statements.rows(epoch)))),
                        *map(str, chain.wrongly_set_aside),
                    ]
                    wrong += [f"{key}: {difference}" for difference in differences]
                    # What does not verify is nobody's pay, and is not shown as if it were.
                    if PAYOUT_STATEMENT in context.selected_asset_keys and chain.in_force and not differences:
                        state = statement_state(epoch, chain.in_force, chain)
                        states = [state.asked_for_by(run_trigger(context.run.tags))]
                        yield from materialized(context, PAYOUT_STATEMENT, scope, states)
                    yield evaluation(
                        PAYOUT_STATEMENT,
                        key,
                        latest_materializations(context.instance, PAYOUT_STATEMENT, [key]),
                        statement_recomputes(differences, chain.approvals),
                        {},
                        blocking=True,
                    )
        if wrong:
            # What blocks downstream in Dagster is a result of the step's own check; ours are a partition each.
            problem = plain_message(f"{len(wrong)} numbers do not follow: {'; '.join(wrong[:3])}")
            raise Failed(problem, allow_retries=False)
        yield from check_outputs(context)

    return payout_statement


def _no_statement(key: str, epoch: Epoch, approvals: Approvals) -> dg.AssetObservation:
    """Says on the partition's own page why it stays grey: an observation, for there is nothing to materialize."""
    return dg.AssetObservation(
        PAYOUT_STATEMENT,
        description=f"{key}: the epoch is in {epoch.status.value} and has no statement: finalizing it makes one",
        metadata={
            "epoch_status": epoch.status.value,
            "statement": "none yet",
            **({"approvals": str(approvals)} if approvals.threshold > 1 else {}),
        },
        partition=key,
    )
