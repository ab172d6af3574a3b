"""One number shared out in whole parts by weights: nothing is lost, and no order matters but that of keys."""

from collections.abc import Collection, Mapping

SHARE_DECIMALS = 6


def largest_remainder(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """What each key gets of `total`, by key in code-point order; the parts sum to `total`.

    Everybody has the whole part of their exact share, and what is left goes one each to the largest remainders, ties by
    key. `total` and weights are not negative, and some weight is more than 0.
    """
    all_weights = sum(weights.values())
    shares = {key: divmod(weights[key] * total, all_weights) for key in sorted(weights)}
    left = total - sum(whole for whole, _ in shares.values())
    # Python's sort is stable, and `shares` is by key: ties stay in that order.
    favoured = set(sorted(shares, key=lambda key: -shares[key][1])[:left])
    return {key: whole + (key in favoured) for key, (whole, _) in shares.items()}


def equal_parts(total: int, keys: Collection[str]) -> dict[str, int]:
    """What each of `keys` gets of `total` where all get the same, by key in code-point order; the parts sum to it.

    What is left of whole parts goes one each, in the order of keys. There is at least one key.
    """
    whole, left = divmod(total, len(keys))
    return {key: whole + (position < left) for position, key in enumerate(sorted(keys))}


def share_text(units: int, all_units: int) -> str:
    """What `units` are of `all_units`, cut off (never rounded up) after SHARE_DECIMALS decimals."""
    whole, fraction = divmod(units * 10**SHARE_DECIMALS // all_units, 10**SHARE_DECIMALS)
    return f"{whole}.{fraction:0{SHARE_DECIMALS}d}"
