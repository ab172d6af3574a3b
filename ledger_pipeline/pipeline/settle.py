"""From review to a signed statement, and to the statement that corrects it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from ledger_pipeline.core.approvals import Approvals
from ledger_pipeline.core.claimants import is_account_key
from ledger_pipeline.core.errors import (
    EpochNotReady,
)
from ledger_pipeline.core.identifiers import broken_ids, is_ambiguous
from ledger_pipeline.core.pins import reserves_accounts
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.signing import Scheme, Signable, StatementTerms, signing_forms, signing_text
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.statements import (
    Payout,
    UserUnits,
    allocation_set_hash,
    compute_payouts,
)
from ledger_pipeline.pipeline.approvals import collected_approvals
from ledger_pipeline.pipeline.chain import (
    StatementChain,
    chain_id_of,
    forms_of,
    message_of,
    stated_units,
    statement_chain,
)
from ledger_pipeline.pipeline.next_step import blocks_chain, blocks_statement, corrections_of, units_to_sign
from ledger_pipeline.pipeline.signed_inputs import SignedInputs, inputs_signature
from ledger_pipeline.pipeline.signers import (
    OfSomethingElse,
    check_approvers,
    check_signer,
    meant_for,
    scope_of,
    signed_form,
)
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.statement_records import (
    Finalization,
    Numbered,
    NumberedRows,
    OneOfSeveral,
    SameStatement,
    Settlement,
    SignedStatement,
    StatedNumbers,
)
from ledger_pipeline.wallets import is_among

if TYPE_CHECKING:
    from ledger_pipeline.store.postgres import PostgresLedger

BROKEN_NAMED = 3
_CORRECT_MORE = "correct somebody's units to others, by a thousandth at least"


@dataclass(frozen=True)
class Draft:
    """A statement that waits for its signature: its numbers, every form to sign it in, and of these the text."""

    units: Sequence[UserUnits]
    allocation_set_hash: str
    pool_total_credits: int
    payouts: Sequence[Payout]
    supersedes: UUID | None
    message: str
    forms: Mapping[Scheme, Signable]

    @property
    def numbers(self) -> StatedNumbers:
        """What its signature covers, and its place in the chain."""
        return StatedNumbers(self.allocation_set_hash, self.pool_total_credits, self.supersedes)


def draft_statement(ledger: "PostgresLedger", scope: Scope, epoch: Epoch, *, accept_pinned_spec: bool = False) -> Draft:
    """What an approver is to sign now: the epoch's statement, or once that is there its amendment.

    An epoch that closed with other weights, algorithm or base issuance than the repo-spec has now is drafted only with
    `accept_pinned_spec`: what it closed with counts then, as it always does.
    The numbers handed out are remembered, so that a signature that comes too late can be told for what it is. Raises
    EpochNotReady saying what blocks it, ApproversChanged.
    """
    settlement = ledger.statements.settlement(epoch)
    chain = statement_chain(ledger.node_id, scope, epoch, settlement.history)
    draft = _draft(ledger.node_id, scope, epoch, settlement, chain, accept_pinned_spec)
    _check_not_handed_out(scope, epoch, draft, partial(ledger.statements.handed_out_elsewhere, epoch))
    ledger.statements.remember_request(epoch, draft.numbers)
    return draft


def correct(ledger: "PostgresLedger", scope: Scope, epoch: Epoch, user_id: str, units: int, reason: str) -> None:
    """Put a user's units right, in milli, for the statement that shall supersede the one in force.

    Raises EpochNotReady for an epoch without a statement, or with one behind it that does not verify.
    """
    chain = statement_chain(ledger.node_id, scope, epoch, ledger.statements.history(epoch))
    if chain.broken:
        raise EpochNotReady(f"epoch {epoch.window.key} of {scope.scope_key}: {'; '.join(blocks_chain(chain))}")
    if chain.in_force is None:
        raise EpochNotReady(
            f"epoch {epoch.window.key} has no statement to correct: while it is in {epoch.status.value}, "
            "`allocations set` decides units"
        )
    ledger.statements.correct(epoch, chain.in_force.id, user_id, units, reason)


def finalize(
    ledger: "PostgresLedger",
    spec: RepoSpec,
    epoch: Epoch,
    signature: str,
    signer_address: str | None = None,
    inputs: SignedInputs | None = None,
    *,
    accept_pinned_spec: bool = False,
) -> Finalization:
    """The epoch's statement, written with its signature in one transaction; the one there is where it is signed again.

    Where several approvers have to sign, a signature is collected until there are enough of the same numbers: then all
    are written with the statement.
    An epoch that has a statement and corrections gets the statement that supersedes it. `inputs` is the same approver's
    signature of what the statement follows from, kept beside it; `accept_pinned_spec` is that of `draft_statement`.
    Nothing is built on a statement
    that does not verify. Raises EpochNotReady, or the SignatureError that fits: WrongSignature, ForeignSignature,
    StaleSignature, SignerNotApproved, ApproversChanged.
    """
    scope = scope_of(spec, epoch.scope_id)
    if scope is None:
        raise EpochNotReady(f"epoch {epoch.id} is of {epoch.scope_id}, no scope of {spec.file} or its projects")
    signature = canonical_signature(signature)

    def decide(settlement: Settlement) -> SignedStatement | SameStatement | OneOfSeveral:
        chain = statement_chain(ledger.node_id, scope, epoch, settlement.history)
        if chain.in_force is not None:
            forms = forms_of(ledger.node_id, epoch, chain.in_force)
            signed = signed_form(scope, forms, signature, signer_address)
            # Without corrections there is nothing else to sign: a signature of anything else is told for what it is.
            if is_among(signed.signer, scope.approvers) or not (
                chain.broken or corrections_of(settlement, chain.in_force)
            ):
                check_approvers(scope, epoch)
                check_signer(scope, signed.signer, signer_address, list(forms))
                message = message_of(ledger.node_id, epoch, chain.in_force)
                signed_inputs = inputs_signature(ledger.node_id, epoch, settlement, message, signed.signer, inputs)
                signers = chain.signers[chain.in_force.id]
                has_signed = is_among(signed.signer, tuple(signers))
                approvals = Approvals(len(signers) + (not has_signed), chain.threshold)
                return SameStatement(
                    *(chain.in_force, signed.signer, signature, signed.scheme, approvals, signed_inputs),
                    is_there=has_signed and signed_inputs is None,
                )
        draft = _draft(ledger.node_id, scope, epoch, settlement, chain, accept_pinned_spec)
        signed = signed_form(scope, draft.forms, signature, signer_address)
        check_signer(scope, signed.signer, signer_address, list(draft.forms))
        _check_not_handed_out(scope, epoch, draft, settlement.handed_out_elsewhere)
        before = collected_approvals(ledger.node_id, scope, epoch, settlement, chain)
        approvals = Approvals(len(before.current) + (not before.has(signed.signer)), chain.threshold)
        if not approvals.is_enough:
            if inputs is not None:
                raise EpochNotReady(
                    f"epoch {epoch.window.key} of {scope.scope_key}: a signature of its inputs has its place under a "
                    f"statement, and none is there yet: give the signature without, it makes {approvals}, and both "
                    "once enough have signed"
                )
            return OneOfSeveral(
                *(draft.numbers, len(draft.payouts), signed.signer, signature, signed.scheme, approvals),
                is_there=before.has(signed.signer),
            )
        return SignedStatement(
            allocation_set_hash=draft.allocation_set_hash,
            pool_total_credits=draft.pool_total_credits,
            payouts=draft.payouts,
            signer_wallet=signed.signer,
            signature=signature,
            scheme=signed.scheme,
            approvals=approvals,
            supersedes=draft.supersedes,
            collected=[row.id for row in before.current if row.signer_wallet.lower() != signed.signer.lower()],
            inputs=inputs_signature(ledger.node_id, epoch, settlement, draft.message, signed.signer, inputs),
        )

    try:
        return ledger.statements.finalize(epoch, decide)
    except OfSomethingElse as unfit:
        # Up to a few hundred messages are tried: not while the epoch is locked.
        for request in ledger.statements.recent_requests():
            refusal = meant_for(ledger.node_id, spec, epoch, request, signature)
            if refusal is not None:
                raise refusal from None
        raise unfit.refusal from None


def _draft(
    node_id: UUID,
    scope: Scope,
    epoch: Epoch,
    settlement: Settlement,
    chain: StatementChain,
    accept_pinned_spec: bool,
) -> Draft:
    blocks = blocks_statement(scope, epoch, settlement, chain, accept_pinned_spec=accept_pinned_spec)
    if blocks:
        raise EpochNotReady(f"epoch {epoch.window.key} of {scope.scope_key}: {'; '.join(blocks)}")
    check_approvers(scope, epoch)
    supersedes = None
    units, pool_total_credits = units_to_sign(settlement, chain)
    if chain.in_force is not None:
        supersedes = chain.in_force.id
        if not any(of_user.units > 0 for of_user in units):
            raise EpochNotReady(
                f"epoch {epoch.window.key} of {scope.scope_key}: its corrections leave nobody any units, and the pool "
                "to no one: correct somebody's to more than 0"
            )
    _check_users(scope, epoch, units, chain)
    set_hash = allocation_set_hash(units)
    for statement in chain.verified:
        if (statement.allocation_set_hash, statement.pool_total_credits) == (set_hash, pool_total_credits):
            raise EpochNotReady(
                f"epoch {epoch.window.key} of {scope.scope_key}: with its corrections the numbers are those of "
                f"statement {statement.id}, and what was signed of that would be good for them again: {_CORRECT_MORE}"
            )
    terms = StatementTerms(node_id, scope.scope_id, epoch.id, set_hash, pool_total_credits)
    chain_id = chain_id_of(epoch)
    return Draft(
        units,
        set_hash,
        pool_total_credits,
        compute_payouts(units, pool_total_credits),
        supersedes,
        signing_text(terms, chain_id),
        signing_forms(terms, chain_id),
    )


def _check_not_handed_out(
    scope: Scope, epoch: Epoch, draft: Draft, handed_out_elsewhere: Callable[[StatedNumbers], Sequence[int]]
) -> None:
    """Raises EpochNotReady where somebody may have signed these very numbers for an earlier place of the chain."""
    requests = [NumberedRows(Numbered.REQUEST, number, number) for number in handed_out_elsewhere(draft.numbers)]
    if requests:
        raise EpochNotReady(
            f"epoch {epoch.window.key} of {scope.scope_key}: with its corrections the numbers are those of a draft "
            f"that was handed out before, and what was signed of that would be good for them now: {_CORRECT_MORE}; or, "
            "where nobody of yours ever signed it, the owner of the ledger takes it out with `ledger-pipeline db "
            f"set-aside {' '.join(map(str, requests))} --reason ...`"
        )


def _check_users(scope: Scope, epoch: Epoch, units: Sequence[UserUnits], chain: StatementChain) -> None:
    """Raises EpochNotReady where one of the users could be read as another, or as several."""
    stated = set() if chain.in_force is None else {line.user_id for line in stated_units(chain.in_force)}
    reserves = reserves_accounts(epoch.pins)
    new_or_ambiguous = [
        line.user_id
        for line in units
        if (line.user_id not in stated or is_ambiguous(line.user_id))
        and not (reserves and is_account_key(line.user_id))
    ]
    broken = list(broken_ids({"user": new_or_ambiguous}))
    if broken:
        raise EpochNotReady(
            f"epoch {epoch.window.key} of {scope.scope_key}: {'; '.join(broken[:BROKEN_NAMED])}: give the account "
            "another user with `ledger-pipeline identities bind --move`, and materialize"
        )
