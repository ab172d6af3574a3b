"""An epoch as its approver sees it, on a terminal and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from ledger_pipeline.cli.ledger_access import LedgerAccess
from ledger_pipeline.cli.output import print_table, say
from ledger_pipeline.cli.override_rows import override_json, print_overrides
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.plain_text import plain_message
from ledger_pipeline.pipeline.approvals import CollectedApprovals
from ledger_pipeline.pipeline.completeness import window_completeness
from ledger_pipeline.pipeline.contributions import percent_text, units_text
from ledger_pipeline.pipeline.review import Review, ReviewLine, review
from ledger_pipeline.pipeline.selection import SelectionReport
from ledger_pipeline.store.records import Epoch, EpochStatus
from ledger_pipeline.store.settlement_records import Decision
from ledger_pipeline.store.statement_records import Statement

LINE_COLUMNS = ("user", "events", "proposed units", "units", "decided because", "share", "credits")
# Of decisions and of accounts; `--json` has all.
LISTED = 50


def review_of(access: LedgerAccess, epoch: Epoch) -> Review:
    """The epoch as it is now."""
    read = window_completeness(access.ledger, access.scope, [epoch.window])[epoch.window]
    return review(access.ledger, access.scope, epoch, read, datetime.now(UTC))


def print_review(epoch_review: Review) -> None:
    """All of it, in the order in which an approver asks."""
    say(f"state: {epoch_review.state}")
    for block in epoch_review.blocks:
        say(f"blocked: {block}")
    if epoch_review.lines and (epoch_review.is_ready_to_sign or epoch_review.chain.in_force is None):
        print_table(_title(epoch_review), LINE_COLUMNS, line_rows(epoch_review.lines))
    if epoch_review.chain.in_force is None:
        _print_pool(epoch_review)
    if epoch_review.is_ready_to_sign:
        say(f"may sign: {', '.join(epoch_review.approvers)}")
    for line in epoch_review.collected.lines:
        say(line)
    for name, why in epoch_review.opted_out.items():
        say(plain_message(f"takes no pay of it: {name}, {why}"))
    for change in epoch_review.changes:
        say(plain_message(f"changed since: {change}"))
    _print_selection(epoch_review.selection)
    _print_decisions(epoch_review)
    if epoch_review.overrides:
        print_overrides(
            epoch_review.overrides[:LISTED], f"decided about single events{_listed(epoch_review.overrides)}"
        )
    _print_accounts(epoch_review)


def line_rows(lines: Sequence[ReviewLine]) -> list[list[object]]:
    """Who gets what, under LINE_COLUMNS: a row for each user, most credits first."""
    return [
        [
            line.user_id,
            line.events,
            units_text(line.proposed_milli),
            units_text(line.units_milli),
            line.decided_because,
            percent_text(line.share),
            f"{line.amount_credits:,}",
        ]
        for line in lines
    ]


def review_json(epoch_review: Review) -> dict[str, object]:
    """The same for programs: credits and units as strings, for they may be larger than JSON keeps exact."""
    return {
        "state": epoch_review.state,
        "ready_to_sign": epoch_review.is_ready_to_sign,
        "contributors": [
            {
                **asdict(line),
                "proposed_milli": str(line.proposed_milli),
                "units_milli": str(line.units_milli),
                "amount_credits": str(line.amount_credits),
            }
            for line in epoch_review.lines
        ],
        "pool": [
            {
                "component_id": component.component_id,
                "amount_credits": str(component.amount_credits),
                "algorithm_version": component.algorithm_version,
                "evidence_ref": component.evidence_ref,
            }
            for component in epoch_review.pool
        ],
        "pool_credits_with_what_is_to_come": str(epoch_review.pool_total_credits),
        "approvers": list(epoch_review.approvers),
        **collected_json(epoch_review.collected),
        **({"opted_out": dict(epoch_review.opted_out)} if epoch_review.opted_out else {}),
        "changes": list(epoch_review.changes),
        "decisions": [asdict(decision) for decision in epoch_review.decisions],
        "overrides": [override_json(row) for row in epoch_review.overrides],
        **_selection_json(epoch_review.selection),
        "accounts_without_a_user": [
            {
                "provider": at_stake.account.provider,
                "external_id": at_stake.account.external_id,
                "login": at_stake.account.login,
                "events": at_stake.account.events,
                "units_milli": str(at_stake.account.units),
                "credits": str(at_stake.credits),
                "is_reserved": at_stake.is_reserved,
            }
            for at_stake in epoch_review.accounts
        ],
    }


def collected_json(collected: CollectedApprovals) -> dict[str, object]:
    """What was signed where several approvers have to; nothing where one suffices."""
    if not collected.are_several:
        return {}
    signatures = {"collected": collected.current, "stale": collected.stale}
    return {
        "approvals": {
            "signed": collected.approvals.signed,
            "threshold": collected.approvals.threshold,
            **{
                name: [
                    {
                        "signer": row.signer_wallet,
                        "scheme": row.scheme,
                        "allocation_set_hash": row.numbers.allocation_set_hash,
                        "pool_total_credits": str(row.numbers.pool_total_credits),
                        "signed_at": row.signed_at,
                    }
                    for row in rows
                ]
                for name, rows in signatures.items()
            },
        }
    }


def _selection_json(selection: SelectionReport | None) -> dict[str, object]:
    if selection is None:
        return {}
    reasons = [{**asdict(row), "moved_milli": str(row.moved_milli)} for row in selection.reasons]
    return {
        "selection": {
            "policy": selection.policy,
            "left_out": selection.excluded,
            "moved_milli": str(selection.moved_milli),
            "reasons": reasons,
        }
    }


def _title(epoch_review: Review) -> str:
    if epoch_review.epoch.status is EpochStatus.OPEN:
        return f"so far, of {epoch_review.pool_total_credits:,} credits"
    return f"to be signed: {sum(line.amount_credits for line in epoch_review.lines):,} credits"


def _print_pool(epoch_review: Review) -> None:
    rows: list[list[object]] = [
        [component.component_id, f"{component.amount_credits:,}", component.algorithm_version, component.evidence_ref]
        for component in epoch_review.pool
    ]
    if epoch_review.base_issuance_to_come is not None:
        rows.append(["base_issuance", f"{epoch_review.base_issuance_to_come:,}", "joins when the epoch closes", None])
    if rows:
        title = f"the pool: {epoch_review.pool_total_credits:,} credits"
        print_table(title, ["component", "credits", "by", "evidence"], rows)


def _print_selection(selection: SelectionReport | None) -> None:
    if selection is None:
        return
    rows = [
        [
            row.reason,
            "counts" if row.included else "left out",
            row.events,
            row.by_person or None,
            units_text(row.moved_milli),
            row.sentence,
        ]
        for row in selection.reasons
    ]
    print_table(
        f"what {selection.policy} decides: {counted(selection.excluded, 'event')} left out, "
        f"{units_text(selection.moved_milli)} units against every event counting",
        ["reason", "counts", "events", "a person decided", "units moved", "what it says"],
        rows,
    )


def _print_decisions(epoch_review: Review) -> None:
    if not epoch_review.decisions:
        return
    rows = [
        [
            decision.event_id,
            decision.user_id or decision.login,
            "counts" if decision.included else "left out",
            None if decision.weight_override_milli is None else units_text(decision.weight_override_milli),
            decision.note,
            _policy_says(decision),
        ]
        for decision in epoch_review.decisions[:LISTED]
    ]
    columns = ["event", "of", "counts", "units instead", "because"]
    if epoch_review.selection is not None:
        columns.append("the policy")
    else:
        rows = [row[: len(columns)] for row in rows]
    print_table(
        f"{counted(len(epoch_review.decisions), 'event')} that a person decided about{_listed(epoch_review.decisions)}",
        columns,
        rows,
    )


def _policy_says(decision: Decision) -> str | None:
    if decision.policy_reason is None:
        return None
    says = f"{'counts' if decision.policy_included else 'left out'}: {decision.policy_reason}"
    return f"{says}; it is followed again" if decision.follows_policy else says


def _print_accounts(epoch_review: Review) -> None:
    if not epoch_review.accounts:
        return
    rows = [
        [
            f"{at_stake.account.provider} {at_stake.account.external_id}",
            at_stake.account.login,
            at_stake.account.events,
            units_text(at_stake.account.units),
            f"{at_stake.credits:,}",
        ]
        for at_stake in epoch_review.accounts[:LISTED]
    ]
    if all(at_stake.is_reserved for at_stake in epoch_review.accounts):
        credits_column = "credits reserved"
        why = "what is theirs is reserved; `ledger-pipeline identities bind` links one to a user"
    else:
        credits_column, why = "would get, were all bound", "nothing is paid for them"
    columns = ["account", "login", "events", "units", credits_column]
    print_table(
        f"{counted(len(epoch_review.accounts), 'account')} without a user: {why}{_listed(epoch_review.accounts)}",
        columns,
        rows,
    )


def _listed(rows: Sequence[object]) -> str:
    return f"; the first {LISTED}, --json has all" if len(rows) > LISTED else ""


def print_statement(statement: Statement) -> None:
    """Print who gets what by a statement."""
    rows = [
        [
            line["userId"],
            units_text(int(line["totalUnits"])),
            percent_text(line["share"]),
            f"{int(line['amountCredits']):,}",
        ]
        for line in statement.payouts
    ]
    supersedes = f", supersedes {statement.supersedes_statement_id}" if statement.supersedes_statement_id else ""
    title = f"statement {statement.id}: {statement.pool_total_credits:,} credits{supersedes}"
    print_table(title, ["user", "units", "share", "credits"], rows)
