"""Signatures as text: one spelling for all that say the same, so that one is never taken for another."""

import re

# secp256k1's: of a signature (r, s) the twin (r, ORDER - s) with the other v is as good, and anybody can compute it.
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SHAPE = re.compile(r"(?:0x)?([0-9a-f]{64})([0-9a-f]{64})(00|01|1b|1c)", re.IGNORECASE | re.ASCII)


def canonical_signature(signature: str) -> str:
    """The spelling that the ledger holds: `0x`, lower-case hex, s in the lower half, v of 27 or 28.

    What is no signature of a message comes back as it is: whoever recovers its signer says what is wrong with it.
    """
    parts = _SHAPE.fullmatch(signature)
    if parts is None:
        return signature
    r, s, v = (int(digits, 16) for digits in parts.groups())
    if not 0 < s < ORDER:
        return signature
    odd = (v - 27 if v >= 27 else v) == 1
    if s > ORDER // 2:
        s, odd = ORDER - s, not odd
    return f"0x{r:064x}{s:064x}{27 + odd:02x}"
