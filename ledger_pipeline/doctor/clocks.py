"""Clocks: ours against GitHub's and the database's."""

from collections.abc import Mapping

from ledger_pipeline.doctor.findings import Finding, failed, fine, skipped, warning

CLOCK = "clock"

WARNING_SECONDS = 5.0
FAILED_SECONDS = 60.0

_EFFECT = (
    "cursors keep GitHub's time, so no event is lost; but epochs begin and close by the wrong clock, and GitHub "
    "refuses a GitHub App whose clock is a minute ahead"
)


def check_clock(skews: Mapping[str, float | None]) -> Finding:
    """Our clock agrees with others'; `skews` says by how many seconds each is ahead of ours, None where not known."""
    known_skews = {name: seconds for name, seconds in skews.items() if seconds is not None}
    if not known_skews:
        return skipped(CLOCK, "nobody to compare it with answers")
    seen = ", ".join(
        f"{name}'s is {abs(skew_seconds):.1f} s {_side(skew_seconds)} ours"
        for name, skew_seconds in known_skews.items()
    )
    worst = max(map(abs, known_skews.values()))
    if worst <= WARNING_SECONDS:
        return fine(CLOCK, seen)
    remedy = "synchronize this machine's clock by NTP (or the database's, where that one differs)"
    state = failed if worst > FAILED_SECONDS else warning
    return state(CLOCK, f"{seen}: {_EFFECT}", remedy)


def _side(seconds: float) -> str:
    return "ahead of" if seconds > 0 else "behind"
