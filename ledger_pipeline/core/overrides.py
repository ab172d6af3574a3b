"""What a person decides about one event instead of its weight and its claimants: units, and parts in millionths."""

from collections.abc import Mapping

from ledger_pipeline.core.claimants import ALL_PPM, claimant_of_key
from ledger_pipeline.core.errors import IdentityError

MOST_CLAIMANTS = 100


def why_not_shares(shares_ppm: Mapping[str, object]) -> str | None:
    """What keeps these, by claimants' keys, from being parts of one event, as the end of a sentence; None if nothing.

    Each claimant has a whole number of millionths, one at least, and all of them together are ALL_PPM.
    """
    if not 0 < len(shares_ppm) <= MOST_CLAIMANTS:
        return f"are of {len(shares_ppm)} claimants, not of 1 to {MOST_CLAIMANTS}"
    for key in shares_ppm:
        try:
            claimant_of_key(key)
        except IdentityError as error:
            return f"name no claimant: {error}"
    millionths = [ppm for ppm in shares_ppm.values() if isinstance(ppm, int) and not isinstance(ppm, bool) and ppm > 0]
    if len(millionths) != len(shares_ppm):
        return "are not all whole numbers of millionths, one at least"
    if sum(millionths) != ALL_PPM:
        return f"sum to {sum(millionths)} millionths, not to {ALL_PPM}"
    return None
