"""A distribution on a terminal and as JSON: who may claim what, who is held back, and that nothing is lost."""

from ledger_pipeline.cli.output import print_table, say
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.distribution import manifest_hash
from ledger_pipeline.pipeline.distribution import Built


def built_json(made: Built) -> dict[str, object]:
    """All of it for programs: amounts and credits as strings, for they may be larger than JSON keeps exact."""
    held_amount, held_credits = _held(made)
    return {
        "number": made.number,
        "is_new": made.is_new,
        "manifest": made.distribution.to_json(),
        "manifest_hash": manifest_hash(made.distribution.manifest()),
        "held_back": [
            {"claimantKey": row.claimant_key, "creditAmount": str(row.credits), "amount": str(row.amount)}
            for row in made.held_back
        ],
        "statement_credits": str(made.total_credits),
        "distributed_credits": str(made.paid_credits),
        "held_back_credits": str(held_credits),
        "held_back_amount": str(held_amount),
    }


def print_built(made: Built) -> None:
    """The same for people."""
    distribution, terms = made.distribution, made.distribution.terms
    rows = [
        [leaf.index, leaf.paid.claimant_key, f"{leaf.paid.credits:,}", str(leaf.amount), leaf.paid.account]
        for leaf in distribution.leaves
    ]
    what = f"{terms.amount} of token {terms.token_address} on chain {terms.chain_id}"
    print_table(
        f"{terms.distribution_id}{'' if made.is_new else ', which is there already'}: {what}",
        ["leaf", "claimant", "credits", "amount", "wallet"],
        rows,
    )
    held_amount, held_credits = _held(made)
    if made.held_back:
        held = [[row.claimant_key, f"{row.credits:,}", str(row.amount)] for row in made.held_back]
        title = f"held back, for they have no wallet: {held_amount}; `ledger-pipeline wallets set` gives them one"
        print_table(title, ["claimant", "credits", "amount"], held)
    say(f"root {distribution.merkle_root}, manifest {manifest_hash(distribution.manifest())}")
    say(
        f"of {counted(made.total_credits, 'credit')} of the statement, {made.paid_credits:,} are distributed by now "
        f"and {held_credits:,} held back"
    )


def _held(made: Built) -> tuple[int, int]:
    """What is held back together: amount, credits."""
    return sum(row.amount for row in made.held_back), sum(row.credits for row in made.held_back)
