"""What statements and their signatures follow from."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from uuid import UUID

from ledger_pipeline.core.approvals import Approvals, pinned_threshold
from ledger_pipeline.core.errors import WrongSignature
from ledger_pipeline.core.opting import paid_in_spite
from ledger_pipeline.core.signatures import canonical_signature
from ledger_pipeline.core.signing import StatementTerms, pinned_chain_id, signing_forms, signing_text
from ledger_pipeline.core.statements import (
    UserUnits,
    allocation_set_hash,
    amended_units,
    compute_payouts,
    inputs_message,
)
from ledger_pipeline.verification.differences import Difference, compare, duplicates, short
from ledger_pipeline.verification.examined import ExaminedEpoch, Stated, chain_of
from ledger_pipeline.verification.record import EpochFacts, InputsSignatureRecord, SignatureRecord


def statement_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Statements off the chain, and hashes and payouts that do not follow."""
    facts = examined.facts
    yield from duplicates("statements", (str(stated.statement_id) for stated in examined.stated))
    statement_ids = {stated.statement_id for stated in examined.stated}
    chain = chain_of(examined.stated)
    if not chain:
        yield Difference("statements", "there is none")
    for stray in sorted(statement_ids - {stated.statement_id for stated in chain}):
        yield Difference(f"statements {stray}", "it supersedes no statement of the epoch, or one that is superseded")
    for row in facts.corrections:
        if row.supersedes_statement_id not in statement_ids:
            where = f"corrections {short(row.user_id)} of {row.supersedes_statement_id}"
            yield Difference(where, "there is no such statement in the epoch")
    corrected: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for row in facts.corrections:
        corrected[row.supersedes_statement_id][row.user_id] = row.units
    units = [UserUnits(row.user_id, row.units) for row in facts.allocations]
    pool_total_credits = sum(row.amount_credits for row in facts.pool)
    for statement in chain:
        if statement.supersedes_statement_id is not None:
            units = amended_units(units, corrected[statement.supersedes_statement_id])
        where = f"statements {statement.statement_id}"
        for name in paid_in_spite(examined.opted_out, {of_user.user_id: of_user.units for of_user in units}):
            yield Difference(f"{where} payout of {short(name)}", "they took no pay when the epoch closed")
        yield from compare(f"{where} pool_total_credits", statement.pool_total_credits, pool_total_credits)
        yield from compare(f"{where} allocation_set_hash", statement.allocation_set_hash, allocation_set_hash(units))
        follow = [payout.to_json() for payout in compute_payouts(units, pool_total_credits)]
        payouts = facts.statements[statement.row].payouts
        stored = {line.get("userId", ""): dict(line) for line in payouts}
        yield from duplicates(where, (line.get("userId", "") for line in payouts))
        for line in follow:
            yield from compare(f"{where} payout of {short(line['userId'])}", stored.pop(line["userId"], None), line)
        for user_id in stored:
            yield Difference(f"{where} payout of {short(user_id)}", "nothing that follows is theirs")
        # What an amendment corrects are the lines of the statement before it.
        units = [UserUnits(line["userId"], int(line["totalUnits"])) for line in follow]


def signature_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Signatures that are not an approver's, and statements without one."""
    facts = examined.facts
    statements = {stated.statement_id: stated for stated in examined.stated}
    signers: defaultdict[UUID, set[str]] = defaultdict(set)
    # Recovering takes milliseconds: what is there twice, however it is spelled, is recovered and named once.
    for row in {_same_signature(row): row for row in facts.signatures}.values():
        where = f"signatures {short(row.signer_wallet)} of {row.statement_id}"
        statement = statements.get(row.statement_id)
        if statement is None:
            yield Difference(where, "there is no such statement in the epoch")
            continue
        problem = problem_of_signature(examined, statement, row)
        if problem is None:
            signers[row.statement_id].add(row.signer_wallet.lower())
        else:
            yield Difference(where, problem)
    for statement_id in sorted(statements):
        approvals = Approvals(len(signers[statement_id]), pinned_threshold(examined.facts.pinned_spec))
        if not approvals.is_enough:
            signed = f"it is {approvals}" if approvals.signed else "nobody signed it who might"
            yield Difference(f"statements {statement_id}", f"{signed}, so it is not in force")


def _same_signature(row: SignatureRecord) -> tuple[UUID, str, str, str]:
    """What all spellings of a signature of a statement by a wallet have in common."""
    return row.statement_id, row.signer_wallet.lower(), canonical_signature(row.signature), row.scheme


def copies(facts: EpochFacts) -> Iterator[str]:
    """Signatures that one wallet has several of under a statement: one is as good as all."""
    times = Counter((row.statement_id, row.signer_wallet.lower()) for row in facts.signatures)
    for (statement_id, wallet), count in times.items():
        if count > 1:
            yield f"signatures {short(wallet)} of {statement_id}: it is there {count} times, and counts once"


def problem_of_signature(examined: ExaminedEpoch, statement: Stated, row: SignatureRecord) -> str | None:
    """Why a signature of a statement is nobody's; None where it is an approver's."""
    if examined.facts.pinned_spec and row.signer_wallet.lower() not in examined.approvers:
        return "the signer is not among the approvers that were pinned"
    forms = signing_forms(_terms(examined.facts, statement), pinned_chain_id(examined.facts.pinned_spec))
    signed = next((message for scheme, message in forms.items() if scheme == row.scheme), None)
    if signed is None:
        return f"its scheme is {short(row.scheme)}, and the epoch is signed by {' or '.join(forms)}"
    try:
        signer = examined.signer(signed, row.signature)
    except WrongSignature as error:
        return str(error)
    return None if row.signer_wallet.lower() == signer.lower() else f"stored {row.signer_wallet}, but {signer} follows"


def inputs_differences(examined: ExaminedEpoch) -> Iterator[Difference]:
    """Approvers whose every signature of a statement's inputs is of others than these."""
    signed = inputs_signatures(examined) if examined.facts.inputs_signatures else []
    if not signed:
        return
    root = examined.inputs_root
    roots: defaultdict[tuple[UUID, str], set[str]] = defaultdict(set)
    for row in signed:
        roots[row.statement_id, examined.address_of(row)].add(row.inputs_root)
    for (statement_id, wallet), signed_roots in roots.items():
        if root not in signed_roots:
            yield Difference(
                f"inputs_signatures {wallet} of {statement_id}",
                f"signed were events and decisions of root {', '.join(sorted(signed_roots))}, but these are of {root}",
            )


def _is_of_inputs(examined: ExaminedEpoch, statement: Stated, row: InputsSignatureRecord) -> bool:
    facts = examined.facts
    message = inputs_message(
        node_id=facts.epoch.node_id,
        scope_id=facts.epoch.scope_id,
        epoch_id=facts.epoch.epoch_id,
        inputs_root=row.inputs_root,
        statement_message=signing_text(_terms(facts, statement), pinned_chain_id(facts.pinned_spec)),
    )
    try:
        return examined.signer(message, row.signature).lower() == row.signer_wallet.lower()
    except WrongSignature:
        return False


def _terms(facts: EpochFacts, statement: Stated) -> StatementTerms:
    epoch = facts.epoch
    return StatementTerms(
        epoch.node_id, epoch.scope_id, epoch.epoch_id, statement.allocation_set_hash, statement.pool_total_credits
    )


def in_force(examined: ExaminedEpoch) -> Stated | None:
    """The last statement of the chain that is signed by as many who might as have to, as is every one before it."""
    signatures: defaultdict[UUID, set[SignatureRecord]] = defaultdict(set)
    for row in examined.facts.signatures:
        signatures[row.statement_id].add(row)
    last = None
    for statement in chain_of(examined.stated):
        rows = signatures[statement.statement_id]
        signers = {row.signer_wallet.lower() for row in rows if not problem_of_signature(examined, statement, row)}
        if len(signers) < pinned_threshold(examined.facts.pinned_spec):
            break
        last = statement
    return last


def statement_signatures(examined: ExaminedEpoch) -> list[SignatureRecord]:
    """The signatures of statements that are what they say, an approver's. Others are nobody's."""
    statements = {stated.statement_id: stated for stated in examined.stated}
    return [
        row
        for row in examined.facts.signatures
        if row.statement_id in statements and problem_of_signature(examined, statements[row.statement_id], row) is None
    ]


def inputs_signatures(examined: ExaminedEpoch) -> list[InputsSignatureRecord]:
    """The signatures of inputs that are what they say: an approver's, of the root beside them."""
    statements = {stated.statement_id: stated for stated in examined.stated}
    return [
        row
        for row in dict.fromkeys(examined.facts.inputs_signatures)
        if row.signer_wallet.lower() in examined.approvers
        and row.statement_id in statements
        and _is_of_inputs(examined, statements[row.statement_id], row)
    ]
