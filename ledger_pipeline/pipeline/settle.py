"""From review to a signed statement, and to the statement that corrects it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from uuid import UUID

from ledger_pipeline.core.allocations import compute_proposed_allocations
from ledger_pipeline.core.errors import (
    ApproversChanged,
    EpochNotReady,
    EventError,
    ForeignSignature,
    SignatureError,
    SignerNotApproved,
    StaleSignature,
    WrongSignature,
)
from ledger_pipeline.core.events import event_problems
from ledger_pipeline.core.identifiers import broken_ids, is_ambiguous
from ledger_pipeline.core.pins import PinDifference, approver_set_hash, pin_differences
from ledger_pipeline.core.plain_text import quoted
from ledger_pipeline.core.pool import BASE_ISSUANCE, why_amount_does_not_follow, why_unfounded
from ledger_pipeline.core.public_keys import is_public, why_no_approvers
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.statements import (
    Payout,
    UserUnits,
    allocation_set_hash,
    amended_units,
    compute_payouts,
    inputs_message,
    statement_message,
)
from ledger_pipeline.core.stored_json import UnreadableJson
from ledger_pipeline.pipeline.chain import (
    StatementChain,
    is_signed_by_approver,
    message_of,
    stated_units,
    statement_chain,
)
from ledger_pipeline.pipeline.completeness import Completeness, utc_text
from ledger_pipeline.pipeline.coverage import shown_whole_at
from ledger_pipeline.pipeline.unread import HOW_TO_CLOSE, WHAT_TO_DO, unread_summary
from ledger_pipeline.store.port import Epoch, EpochStatus
from ledger_pipeline.store.settlement_port import (
    DoubtfulEvent,
    EpochRows,
    Finalization,
    InputsSignature,
    Numbered,
    NumberedRows,
    PoolComponent,
    SameStatement,
    Settlement,
    SettlingLedger,
    SignedStatement,
    SigningRequest,
    StatedNumbers,
    Statement,
    StatementHistory,
    valued,
)
from ledger_pipeline.wallets import is_among, recover_signer

BROKEN_NAMED = EVENTS_NAMED = 3
_CORRECT_MORE = "correct somebody's units to others, by a thousandth at least"


@dataclass(frozen=True)
class Draft:
    """A statement that waits for its signature: its numbers, and the exact message to sign."""

    units: Sequence[UserUnits]
    allocation_set_hash: str
    pool_total_credits: int
    payouts: Sequence[Payout]
    supersedes: UUID | None
    message: str

    @property
    def numbers(self) -> StatedNumbers:
        """What its signature covers, and its place in the chain."""
        return StatedNumbers(self.allocation_set_hash, self.pool_total_credits, self.supersedes)


@dataclass(frozen=True)
class SignedInputs:
    """A signature of what a statement follows from; `root_of` gives the root (hex) of the rows it would follow from."""

    signature: str
    root_of: Callable[[EpochRows], str]


def next_steps(
    node_id: UUID, scope: Scope, epoch: Epoch, settlement: Callable[[], Settlement], read: Completeness, now: datetime
) -> list[str]:
    """What keeps the epoch from its next step, for a person; empty where the next step can be taken at once.

    `settlement` is asked only of an epoch in review: of the many others nothing is read.
    """
    if epoch.status is EpochStatus.FINALIZED:
        return []
    if epoch.status is EpochStatus.OPEN:
        return _blocks_review(scope, epoch, read, now)
    settled = settlement()
    chain = statement_chain(node_id, scope, epoch, settled.history)
    return _blocks_statement(scope, epoch, settled, chain)


def draft_statement(ledger: SettlingLedger, scope: Scope, epoch: Epoch, *, accept_pinned_spec: bool = False) -> Draft:
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


def correct(ledger: SettlingLedger, scope: Scope, epoch: Epoch, user_id: str, units: int, reason: str) -> None:
    """Put a user's units right, in milli, for the statement that shall supersede the one in force.

    Raises EpochNotReady for an epoch without a statement, or with one behind it that does not verify.
    """
    chain = statement_chain(ledger.node_id, scope, epoch, ledger.statements.history(epoch))
    if chain.broken:
        raise EpochNotReady(f"epoch {epoch.window.key} of {scope.scope_key}: {'; '.join(_blocks_chain(chain))}")
    if chain.in_force is None:
        raise EpochNotReady(
            f"epoch {epoch.window.key} has no statement to correct: while it is in {epoch.status.value}, "
            "`allocations set` decides units"
        )
    ledger.statements.correct(epoch, chain.in_force.id, user_id, units, reason)


def set_aside(ledger: SettlingLedger, spec: RepoSpec, row_id: UUID, reason: str) -> None:
    """Take out a statement that does not verify, a signature that counts for nothing, or a component of a pool.

    Who did, when and why stays on record. `ledger` is the owner's. Raises EpochNotReady for what verifies, for a
    component of an epoch that is finalized, and for an id that is none of these.
    """
    epoch_id = ledger.statements.epoch_of(row_id)
    epoch = None if epoch_id is None else ledger.epoch(epoch_id)
    if epoch is None:
        raise EpochNotReady(f"{row_id} is no statement, no signature of one and no component of a pool, of this node")
    # Whoever may write makes epochs of any scope.
    scope = _scope_of(spec, epoch.scope_id)
    pinned = None if epoch.pins is None else epoch.pins.pinned_spec.get("base_issuance_credits")
    components = {row.id: row for row in ledger.pool.of(epoch)}
    signatures = {row.id: row for row in ledger.statements.inputs_signatures(epoch)}

    def check(history: StatementHistory) -> None:
        chain = statement_chain(ledger.node_id, scope, epoch, history)
        garbage = {fault.row_id for fault in (*chain.broken, *chain.garbage)}
        if row_id in components:
            component = components[row_id]
            # Of others a person decided the amount, and a person takes it back.
            if component.component_id == BASE_ISSUANCE and pinned == str(component.amount_credits):
                raise EpochNotReady(f"{row_id} is the base_issuance of the pinned repo-spec: what verifies stays")
            if epoch.status is EpochStatus.FINALIZED:
                raise EpochNotReady(f"epoch {epoch.window.key} is finalized, and was paid by its pool")
        elif row_id in signatures:
            row = signatures[row_id]
            [statement] = [each for each in history.statements if each.id == row.statement_id]
            if is_signed_by_approver(ledger.node_id, scope, epoch, statement, row):
                raise EpochNotReady(f"{row_id} verifies: what verifies stays")
        elif row_id not in garbage:
            raise EpochNotReady(
                f"{row_id} is set aside already, is of a statement that is itself to be set aside, or it verifies: "
                "what verifies stays"
            )

    ledger.statements.set_aside(epoch, row_id, reason, check)


def set_numbered_aside(ledger: SettlingLedger, rows: NumberedRows, reason: str) -> int:
    """Take out corrections that no statement rests on, or requests to sign; of the epoch of the first, how many.

    Who did, when and why stays on record. What was handed out by a request may be stated again then, whoever signed it:
    that nobody did is for the owner to know. `ledger` is the owner's. Raises EpochNotReady where there is none of them.
    """
    count = ledger.statements.set_numbered_aside(rows, reason)
    if count == 0:
        raise EpochNotReady(f"{rows}: the node has no such {rows.kind}, or it is set aside already")
    return count


def finalize(
    ledger: SettlingLedger,
    spec: RepoSpec,
    epoch: Epoch,
    signature: str,
    signer_address: str | None = None,
    inputs: SignedInputs | None = None,
    *,
    accept_pinned_spec: bool = False,
) -> Finalization:
    """The epoch's statement, written with its signature in one transaction; the one there is where it is signed again.

    An epoch that has a statement and corrections gets the statement that supersedes it. `inputs` is the same approver's
    signature of what the statement follows from, kept beside it; `accept_pinned_spec` is that of `draft_statement`.
    Nothing is built on a statement
    that does not verify. Raises EpochNotReady, or the SignatureError that fits: WrongSignature, ForeignSignature,
    StaleSignature, SignerNotApproved, ApproversChanged.
    """
    scope = _scope_of(spec, epoch.scope_id)
    if scope is None:
        raise EpochNotReady(f"epoch {epoch.id} is of {epoch.scope_id}, no scope of {spec.file} or its projects")
    signature = canonical_signature(signature)

    def decide(settlement: Settlement) -> SignedStatement | SameStatement | Statement:
        chain = statement_chain(ledger.node_id, scope, epoch, settlement.history)
        if chain.in_force is not None:
            message = message_of(ledger.node_id, epoch, chain.in_force)
            signer = recover_signer(message, signature)
            # Without corrections there is nothing else to sign: a signature of anything else is told for what it is.
            if is_among(signer, scope.approvers) or not (chain.broken or corrections_of(settlement, chain.in_force)):
                _check_approvers(scope, epoch)
                _check_signer(scope, signer, signer_address)
                signed_inputs = _inputs_signature(ledger.node_id, epoch, settlement, message, signer, inputs)
                if signed_inputs is None and is_among(signer, tuple(chain.signers[chain.in_force.id])):
                    return chain.in_force
                return SameStatement(chain.in_force, signer, signature, signed_inputs)
        draft = _draft(ledger.node_id, scope, epoch, settlement, chain, accept_pinned_spec)
        signer = recover_signer(draft.message, signature)
        _check_signer(scope, signer, signer_address)
        _check_not_handed_out(scope, epoch, draft, settlement.handed_out_elsewhere)
        return SignedStatement(
            allocation_set_hash=draft.allocation_set_hash,
            pool_total_credits=draft.pool_total_credits,
            payouts=draft.payouts,
            signer_wallet=signer,
            signature=signature,
            supersedes=draft.supersedes,
            inputs=_inputs_signature(ledger.node_id, epoch, settlement, draft.message, signer, inputs),
        )

    try:
        return ledger.statements.finalize(epoch, decide)
    except _OfSomethingElse as unfit:
        # Up to a few hundred messages are tried: not while the epoch is locked.
        for request in ledger.statements.recent_requests():
            meant_for = _meant_for(ledger.node_id, spec, epoch, request, signature)
            if meant_for is not None:
                raise meant_for from None
        raise unfit.refusal from None


def _inputs_signature(
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


def spec_differences(scope: Scope, epoch: Epoch) -> list[PinDifference]:
    """Where what the epoch closed with differs from `scope` now; nothing of an open epoch."""
    if epoch.pins is None:
        return []
    return pin_differences(scope, epoch.pins.allocation_algo_ref, epoch.weights_milli, epoch.pins.pinned_spec)


def _draft(
    node_id: UUID,
    scope: Scope,
    epoch: Epoch,
    settlement: Settlement,
    chain: StatementChain,
    accept_pinned_spec: bool,
) -> Draft:
    blocks = _blocks_statement(scope, epoch, settlement, chain, accept_pinned_spec=accept_pinned_spec)
    if blocks:
        raise EpochNotReady(f"epoch {epoch.window.key} of {scope.scope_key}: {'; '.join(blocks)}")
    _check_approvers(scope, epoch)
    supersedes = None
    if chain.in_force is None:
        units = valued(settlement.allocations)
        pool_total_credits = sum(component.amount_credits for component in settlement.components)
    else:
        supersedes = chain.in_force.id
        units = amended_units(stated_units(chain.in_force), corrections_of(settlement, chain.in_force))
        pool_total_credits = chain.in_force.pool_total_credits
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
    message = statement_message(
        node_id=node_id,
        scope_id=scope.scope_id,
        epoch_id=epoch.id,
        allocation_set_hash=set_hash,
        pool_total_credits=pool_total_credits,
    )
    payouts = compute_payouts(units, pool_total_credits)
    return Draft(units, set_hash, pool_total_credits, payouts, supersedes, message)


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
    new_or_ambiguous = [line.user_id for line in units if line.user_id not in stated or is_ambiguous(line.user_id)]
    broken = list(broken_ids({"user": new_or_ambiguous}))
    if broken:
        raise EpochNotReady(
            f"epoch {epoch.window.key} of {scope.scope_key}: {'; '.join(broken[:BROKEN_NAMED])}: give the account "
            "another user with `ledger-pipeline identities bind --move`, and materialize"
        )


def _blocks_review(scope: Scope, epoch: Epoch, read: Completeness, now: datetime) -> list[str]:
    until = epoch.window.end + timedelta(hours=scope.auto_close_grace_hours)
    blocks = []
    problem = why_no_approvers(scope)
    if problem is not None:
        blocks.append(problem)
    if now < epoch.window.end:
        blocks.append(f"it runs until {utc_text(epoch.window.end)}")
    if not read.is_read_to_its_end:
        blocks += [str(part) for part in read.parts if part.until is None or part.until < shown_whole_at(epoch.window)]
    if read.unread:
        blocks.append(f"{unread_summary(read.unread)} ({WHAT_TO_DO}; {HOW_TO_CLOSE})")
    elif read.is_complete and now < until and problem is None:
        blocks.append(f"it closes by itself at {utc_text(until)}; `ledger-pipeline epoch close` closes it now")
    elif not blocks:
        blocks.append(
            "the next collection reads it once more and closes it; `ledger-pipeline epoch close` closes it now"
        )
    return blocks


def _blocks_chain(chain: StatementChain) -> list[str]:
    return [
        f"{fault}; nothing is built on it: the owner of the ledger takes it out with `ledger-pipeline db set-aside "
        f"{fault.row_id} --reason ...`"
        for fault in chain.broken
    ]


def corrections_of(settlement: Settlement, statement: Statement) -> dict[str, int]:
    """What was put right in `statement` since it was made, milli-units by user."""
    return {row.user_id: row.units for row in settlement.corrections if row.supersedes_statement_id == statement.id}


def _blocks_statement(
    scope: Scope, epoch: Epoch, settlement: Settlement, chain: StatementChain, *, accept_pinned_spec: bool = False
) -> list[str]:
    if chain.broken:
        return _blocks_chain(chain)
    if chain.in_force is not None:
        if corrections_of(settlement, chain.in_force):
            return []
        return ["it has its statement; `ledger-pipeline epoch amend` puts units right"]
    if settlement.status is EpochStatus.OPEN:
        return ["it is open: it goes to review first (`ledger-pipeline epoch show` says when)"]
    if settlement.status is EpochStatus.FINALIZED:
        return ["another system finalized it, and its statement is not in this ledger"]
    blocks = []
    if settlement.uncurated_events:
        blocks.append(f"{settlement.uncurated_events} events are not curated: materialize activity_curation")
    elif not _follows(epoch, settlement):
        blocks.append("its allocations do not follow from its curation any more: materialize epoch_allocations")
    blocks += _blocks_events(epoch, settlement)
    blocks += _blocks_base_issuance(epoch, settlement, accept_pinned_spec=accept_pinned_spec)
    blocks += _blocks_pool(epoch, settlement)
    # Who may sign is asked for by itself: other approvers are refused whoever accepts them.
    blocks += [
        f"{difference}: whoever may write to the ledger may have closed it so. Put the repo-spec back as it was, or, "
        "where what was pinned shall be paid, give --accept-pinned-spec; or have the owner of the ledger open it again "
        "(`ledger-pipeline db reopen`)"
        for difference in spec_differences(scope, epoch)
        if difference.pays and difference.name != "approvers" and not accept_pinned_spec
    ]
    if not any(of_user.units > 0 for of_user in valued(settlement.allocations)):
        blocks.append("nobody has units: bind identities (`ledger-pipeline identities unresolved`) and materialize")
    if not scope.approvers:
        blocks.append(f"nobody may sign: {scope.file} names no approvers")
    return blocks


def _blocks_events(epoch: Epoch, settlement: Settlement) -> list[str]:
    """Events that `verify` would refuse: they are left out, on record, before anybody signs."""
    problems = {event.event_id: problem for event in settlement.doubtful if (problem := _problem_of_event(event))}
    return [
        f"nobody can recompute its event {quoted(event_id)}: {problem}; leave it out with `ledger-pipeline curate "
        f"--epoch {epoch.window.key} --event ... --exclude --note ...`"
        for event_id, problem in islice(problems.items(), EVENTS_NAMED)
    ] + ([f"and so {len(problems) - EVENTS_NAMED} more events"] if len(problems) > EVENTS_NAMED else [])


def _problem_of_event(event: DoubtfulEvent) -> str | None:
    if isinstance(event.metadata, UnreadableJson):
        return "its metadata is JSON that nobody can read"
    try:
        for column, _, _ in event_problems(**vars(event)):
            return f"its {column} does not follow from the rest of it"
    except (EventError, TypeError) as error:
        return str(error)
    return None


def _blocks_base_issuance(epoch: Epoch, settlement: Settlement, *, accept_pinned_spec: bool) -> list[str]:
    """A base issuance that is missing, or that nobody pinned: an epoch closes with one, or its owner adds it later."""
    base = next((row for row in settlement.components if row.component_id == BASE_ISSUANCE), None)
    closed_with = None if epoch.pins is None else epoch.pins.pinned_spec.get("base_issuance_credits")
    if base is None:
        if closed_with is not None:
            return ["its pool has no base_issuance: materialize pool_components"]
        return [
            "its pool has no base_issuance, and it closed with none, so the owner of the ledger adds it: "
            f"`ledger-pipeline pool add --epoch {epoch.window.key} --component {BASE_ISSUANCE} --amount-credits ... "
            "--evidence ...` (for epochs to come, activity_ledger.pool_config.base_issuance_credits does)"
        ]
    if closed_with is not None or accept_pinned_spec:
        return []
    return [
        f"its base_issuance of {base.amount_credits} credits joined after it had closed with none: where it shall be "
        "paid, give --accept-pinned-spec; where not, the owner of the ledger takes it out with `ledger-pipeline db "
        f"set-aside {base.id} --reason ...`"
    ]


def _blocks_pool(epoch: Epoch, settlement: Settlement) -> list[str]:
    base = None if epoch.pins is None else epoch.pins.pinned_spec.get("base_issuance_credits")
    problems = {
        component.id: f"{component.component_id}: {problem}"
        for component in settlement.components
        if (problem := _problem_of_component(component, None if base is None else str(base))) is not None
    }
    return [
        f"its pool does not follow: {problem}; the owner of the ledger takes it out with `ledger-pipeline db set-aside "
        f"{row_id} --reason ...`"
        for row_id, problem in problems.items()
    ]


def _problem_of_component(component: PoolComponent, base_issuance_credits: str | None) -> str | None:
    if isinstance(component.inputs, UnreadableJson):
        return "its inputs are JSON that nobody can read"
    return why_unfounded(
        component.component_id, component.inputs, component.evidence_ref
    ) or why_amount_does_not_follow(
        component.component_id,
        component.algorithm_version,
        component.inputs,
        component.amount_credits,
        base_issuance_credits,
    )


def _follows(epoch: Epoch, settlement: Settlement) -> bool:
    """Whether the stored proposals are what the curation of this moment proposes."""
    if epoch.pins is None:
        return False
    proposals = compute_proposed_allocations(epoch.pins.allocation_algo_ref, settlement.curated, epoch.weights_milli)
    follow = {proposal.user_id: (proposal.proposed_units, proposal.activity_count) for proposal in proposals}
    stored = {
        allocation.user_id: (allocation.proposed_units, allocation.activity_count)
        for allocation in settlement.allocations
    }
    # A person's decision may stand without any event.
    decided = {allocation.user_id for allocation in settlement.allocations if allocation.final_units is not None}
    return stored == {**dict.fromkeys(decided, (0, 0)), **follow}


def _scope_of(spec: RepoSpec, scope_id: UUID) -> Scope | None:
    return next((scope for scope in spec.scopes if scope.scope_id == scope_id), None)


def _check_approvers(scope: Scope, epoch: Epoch) -> None:
    now = approver_set_hash(scope.approvers)
    if epoch.pins is None or epoch.pins.approver_set_hash != now:
        pinned = "none" if epoch.pins is None else epoch.pins.approver_set_hash
        raise ApproversChanged(
            f"epoch {epoch.window.key} of {scope.scope_key}: its approvers were pinned as {pinned} when it closed, and "
            f"those of {scope.file} are {now}: put them back as they were then, or, where it was not to close so, have "
            "the owner of the ledger open it again (`ledger-pipeline db reopen`)"
        )


class _OfSomethingElse(Exception):
    """No approver signed this message; `refusal` is what to say where it is not known what was signed instead."""

    def __init__(self, refusal: SignatureError) -> None:
        self.refusal = refusal
        super().__init__(str(refusal))


def _check_signer(scope: Scope, signer: str, signer_address: str | None) -> None:
    """Raises WrongSignature or _OfSomethingElse, unless `signer` may sign and is who it should be."""
    if is_among(signer, scope.approvers):
        if signer_address is not None and signer_address.lower() != signer.lower():
            raise WrongSignature(f"the signature is {signer}'s, not {signer_address}'s")
        if is_public(signer) and not scope.is_simulated:
            raise SignerNotApproved(
                f"everybody has the key of {signer}, an account of every development node: it signs for no money"
            )
        return
    approvers = ", ".join(scope.approvers)
    if signer_address is not None and signer_address.lower() == signer.lower():
        raise _OfSomethingElse(SignerNotApproved(f"{signer} is no approver of {scope.scope_key}: {approvers}"))
    if signer_address is not None and is_among(signer_address, scope.approvers):
        refusal = f"the signature is not {signer_address}'s of this epoch's message: sign it anew"
        raise _OfSomethingElse(WrongSignature(refusal))
    raise _OfSomethingElse(
        SignerNotApproved(
            f"the signature recovers to {signer}, no approver of {scope.scope_key} "
            f"({approvers}); one of any other message recovers to a stranger too"
        )
    )


def _meant_for(
    node_id: UUID, spec: RepoSpec, epoch: Epoch, request: SigningRequest, signature: str
) -> SignatureError | None:
    """What to say of a signature that an approver made of what was handed out before."""
    scope = _scope_of(spec, request.scope_id)
    if scope is None:
        return None
    message = statement_message(
        node_id=node_id,
        scope_id=request.scope_id,
        epoch_id=request.epoch_id,
        allocation_set_hash=request.allocation_set_hash,
        pool_total_credits=request.pool_total_credits,
    )
    if not is_among(recover_signer(message, signature), scope.approvers):
        return None
    if request.epoch_id == epoch.id:
        return StaleSignature(
            f"the signature is of allocations {request.allocation_set_hash} and a pool of "
            f"{request.pool_total_credits}, and epoch {epoch.window.key} has changed since: sign it anew"
        )
    return ForeignSignature(
        f"the signature is of epoch {request.epoch_id} of {scope.scope_key}, not of epoch {epoch.id} "
        f"({epoch.window.key}) of {epoch.scope_id}"
    )
