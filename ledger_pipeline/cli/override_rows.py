"""What was decided about single events, for people and for programs."""

from collections.abc import Sequence

from ledger_pipeline.cli.output import print_table
from ledger_pipeline.pipeline.contributions import units_text
from ledger_pipeline.store.settlement_records import EventOverride


def print_overrides(overrides: Sequence[EventOverride], title: str) -> None:
    """Print what was decided, in its order, with what it replaced, in milli-units."""
    rows = [
        [row.event_id, row.place, _said(row), str(row.replaced.get("units", "")), row.actor, row.reason]
        for row in overrides
    ]
    print_table(title, ["event", "place", "decided", "was (milli)", "by", "because"], rows)


def _said(row: EventOverride) -> str:
    if row.units is None and row.shares is None:
        return "taken back"
    units = [] if row.units is None else [f"{units_text(row.units)} units"]
    return ", ".join([*units, *(f"{key} {ppm / 10_000:g} %" for key, ppm in sorted((row.shares or {}).items()))])


def override_json(row: EventOverride) -> dict[str, object]:
    """For programs: units as strings, for they may be larger than JSON keeps exact."""
    return {
        "event_id": row.event_id,
        "place": row.place,
        "units_milli": None if row.units is None else str(row.units),
        "shares_ppm": row.shares,
        "replaced": row.replaced,
        "reason": row.reason,
        "actor": row.actor,
        "decided_at": row.decided_at.isoformat(),
    }
