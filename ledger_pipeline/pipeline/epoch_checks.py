"""What the checks of an epoch's partition come to: the same for the run that evaluates them and a command that changed
something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger_pipeline.core.approvals import Approvals
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.dagster_contract import EVERY_SOURCE_SCOPE_READ, NOTHING_REJECTED, STATEMENT_RECOMPUTES
from ledger_pipeline.pipeline.completeness import Completeness
from ledger_pipeline.pipeline.unread import HOW_TO_CLOSE, WHAT_TO_DO, left_out_text, unread_summary
from ledger_pipeline.store.records import AppendOutcome, UnsettledRejections

_DIFFERENCES_SAID = 3
_DIFFERENCES_LISTED = 50


@dataclass(frozen=True)
class CheckResult:
    """A check of one partition, which is an error or a warning where it does not pass.

    `message` is one sentence behind the partition's key, which may quote what others wrote; `metadata` is plain values.
    """

    check: str
    passed: bool
    is_error: bool
    message: str
    metadata: dict[str, Json]


def every_source_scope_read(completeness: Completeness, now: datetime) -> CheckResult:
    """Whether a window is read as far as it should be by `now`, and every item of it."""
    problems = [str(reach) for reach in completeness.missing(now)]
    metadata: dict[str, Json] = {"missing": [*problems]} if problems else {}
    if completeness.unread:
        problems.append(f"{unread_summary(completeness.unread)}. {WHAT_TO_DO}; {HOW_TO_CLOSE}")
    left_out = [left_out_text(item) for item in completeness.left_out]
    if left_out:
        metadata["closed_without"] = [*left_out]
    message = "; ".join([*(problems or ["all read"]), *left_out])
    return CheckResult(EVERY_SOURCE_SCOPE_READ, not problems, True, message, metadata)


def nothing_rejected(unsettled: UnsettledRejections) -> CheckResult:
    """Whether no event of a window was refused since its last statement."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(unsettled.by_reason.items()))
    message = f"{reasons or 'nothing rejected'}{_advice(unsettled)}"
    return CheckResult(NOTHING_REJECTED, not unsettled.events, False, message, {"rejected": unsettled.events})


def statement_recomputes(differences: Sequence[str], approvals: Approvals | None) -> CheckResult:
    """Whether a statement follows from its rows: `differences` are what does not.

    `approvals` are those of the statement in force, where several approvers have to sign.
    """
    message = "; ".join(differences[:_DIFFERENCES_SAID]) or "every number follows"
    metadata: dict[str, Json] = {"differences": len(differences)}
    if approvals is not None:
        metadata["approvals"] = str(approvals)
    if differences:
        metadata["first_differences"] = [*differences[:_DIFFERENCES_LISTED]]
    return CheckResult(STATEMENT_RECOMPUTES, not differences, True, message, metadata)


def _advice(unsettled: UnsettledRejections) -> str:
    """What a person can do about events whose id is another repository's, of which nobody else is told."""
    if AppendOutcome.REPLACED not in unsettled.by_reason:
        return ""
    return (
        ". replaced: a repository has taken over the name of another, and these ids are stored as events of that one. "
        "Give their authors the units with `ledger-pipeline allocations set`, or collect the new repository in a scope "
        "of its own"
    )
