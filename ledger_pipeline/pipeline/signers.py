"""Whether a signature is of whom it should be, and what to say of one that is of something else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger_pipeline.core.errors import (
    ApproversChanged,
    ForeignSignature,
    SignatureError,
    SignerNotApproved,
    StaleSignature,
    WrongSignature,
)
from ledger_pipeline.core.pins import approver_set_hash
from ledger_pipeline.core.public_keys import is_public
from ledger_pipeline.core.signing import (
    Scheme,
    Signable,
    StatementTerms,
    attribution_message,
    read_chain_id,
    signing_forms,
)
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.statements import statement_message
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.store.statement_records import SigningRequest
from ledger_pipeline.wallets import is_among, recover_signer


class OfSomethingElse(Exception):
    """No approver signed this message; `refusal` is what to say where it is not known what was signed instead."""

    def __init__(self, refusal: SignatureError) -> None:
        self.refusal = refusal
        super().__init__(str(refusal))


@dataclass(frozen=True)
class SignedForm:
    """Whose signature it is, and of which form of a statement."""

    signer: str
    scheme: Scheme


def signed_form(
    scope: Scope, forms: Mapping[Scheme, Signable], signature: str, signer_address: str | None = None
) -> SignedForm:
    """The form that an approver signed, or `signer_address` did; else the first, and a stranger.

    Raises WrongSignature for what is no signature.
    """
    read = [SignedForm(recover_signer(message, signature), scheme) for scheme, message in forms.items()]
    expected = scope.approvers if signer_address is None else (*scope.approvers, signer_address)
    return next((form for form in read if is_among(form.signer, expected)), read[0])


def check_approvers(scope: Scope, epoch: Epoch) -> None:
    """Raises ApproversChanged where the approvers are no longer those that were pinned."""
    now = approver_set_hash(scope.approvers)
    if epoch.pins is None or epoch.pins.approver_set_hash != now:
        pinned = "none" if epoch.pins is None else epoch.pins.approver_set_hash
        raise ApproversChanged(
            f"epoch {epoch.window.key} of {scope.scope_key}: its approvers were pinned as {pinned} when it closed, and "
            f"those of {scope.file} are {now}: put them back as they were then, or, where it was not to close so, have "
            "the owner of the ledger open it again (`ledger-pipeline db reopen`)"
        )


def check_signer(scope: Scope, signer: str, signer_address: str | None, schemes: Sequence[Scheme]) -> None:
    """Raises WrongSignature or OfSomethingElse, unless `signer` may sign and is who it should be.

    `schemes` are those that the signature was tried by.
    """
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
        raise OfSomethingElse(SignerNotApproved(f"{signer} is no approver of {scope.scope_key}: {approvers}"))
    if signer_address is not None and is_among(signer_address, scope.approvers):
        refusal = f"the signature is not {signer_address}'s of this epoch's message: sign it anew"
        raise OfSomethingElse(WrongSignature(refusal))
    raise OfSomethingElse(
        SignerNotApproved(
            f"the signature {_fits_none(schemes)}recovers to {signer}, no approver of {scope.scope_key} "
            f"({approvers}); one of any other message recovers to a stranger too"
        )
    )


def meant_for(
    node_id: UUID, spec: RepoSpec, epoch: Epoch, request: SigningRequest, signature: str
) -> SignatureError | None:
    """What to say of a signature that an approver made of what was handed out before."""
    scope = scope_of(spec, request.scope_id)
    if scope is None:
        return None
    terms = StatementTerms(
        node_id, request.scope_id, request.epoch_id, request.allocation_set_hash, request.pool_total_credits
    )
    forms = signing_forms(terms, read_chain_id(request.chain_id))
    if not is_among(signed_form(scope, forms, signature).signer, scope.approvers):
        if request.epoch_id == epoch.id:
            for scheme, message in _other_texts(terms, forms):
                signer = recover_signer(message, signature)
                if is_among(signer, scope.approvers):
                    return WrongSignature(
                        f"the signature is {signer}'s by the scheme {scheme}, and epoch {epoch.window.key} is signed "
                        f"by {' or '.join(forms)}: sign what `ledger-pipeline epoch sign-data` prints"
                    )
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


def _other_texts(terms: StatementTerms, forms: Mapping[Scheme, Signable]) -> Iterator[tuple[Scheme, str]]:
    """The texts that the epoch is not signed by."""
    texts = {Scheme.ATTRIBUTION_TEXT: attribution_message(terms), Scheme.PAYOUT_TEXT: statement_message(**vars(terms))}
    return ((scheme, message) for scheme, message in texts.items() if scheme not in forms)


def _fits_none(schemes: Sequence[Scheme]) -> str:
    return "" if len(schemes) == 1 else f"fits neither {' nor '.join(schemes)} of this epoch: it "


def scope_of(spec: RepoSpec, scope_id: UUID) -> Scope | None:
    """The scope of that id; None where the repo-spec has none."""
    return next((scope for scope in spec.scopes if scope.scope_id == scope_id), None)
