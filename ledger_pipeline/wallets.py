"""Ethereum signatures: who signed a message, and how addresses are compared. Knows eth-account alone.

Imported when something is recovered: eth-account takes seconds to load, and most commands never need it.
"""

import sys

from ledger_pipeline.core.errors import WrongSignature

# 27 and 28, which some hardware wallets count from zero. eth-account would take a transaction's too (35 and more),
# and the system we join refuses them.
_RECOVERY_IDS = (0, 1, 27, 28)

# As it was before eth-account; while another thread imports it, it is too late to look.
_RECURSION_LIMIT = sys.getrecursionlimit()


def recover_signer(message: str, signature: str) -> str:
    """The checksummed address whose key signed `message` (EIP-191, `personal_sign`).

    Any well-formed signature recovers to some address: that of a stranger where it is of another message. Raises
    WrongSignature for what is no signature: `0x` and 65 bytes in hex.
    """
    from eth_account import Account
    from eth_account.messages import encode_defunct
    from eth_keys.exceptions import BadSignature
    from eth_utils.exceptions import ValidationError

    # It brings py_ecc, which lets the whole process recurse beyond its stack: nested JSON would crash it, not raise.
    sys.setrecursionlimit(_RECURSION_LIMIT)

    digits = signature.removeprefix("0x")
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raw = b""
    # fromhex skips white space, and would take a signature that was broken into two lines for a whole one.
    if raw.hex() != digits.lower():
        raise WrongSignature("the signature is not hex: give 0x and 130 digits")
    if len(raw) != 65:  # r, s and v
        raise WrongSignature(f"the signature has {len(raw)} bytes, not 65: give 0x and 130 digits")
    if raw[-1] not in _RECOVERY_IDS:
        raise WrongSignature(f"the signature ends in {raw[-1]:#04x}, not in 0x1b or 0x1c, so it is not of a message")
    try:
        return str(Account.recover_message(encode_defunct(text=message), signature=raw))
    except (BadSignature, ValidationError, ValueError) as error:
        raise WrongSignature(f"no key can have made this signature: {error}") from None


def is_among(address: str, addresses: tuple[str, ...]) -> bool:
    """Whether `addresses` hold `address`, whatever their case: the checksum is in the case."""
    return address.lower() in {each.lower() for each in addresses}
