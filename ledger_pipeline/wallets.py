"""Ethereum signatures: who signed a message, and how addresses are compared. Knows eth-keys alone.

Imported when something is recovered: most commands never need it. Not eth-account, whose keys of other kinds take a
second to load.
"""

from ledger_pipeline.core.errors import WrongSignature

# 27 and 28, which some hardware wallets count from zero. A transaction's (35 and more) are of no message.
_RECOVERY_IDS = (0, 1, 27, 28)
# EIP-191, version 0x45: what `personal_sign` puts before a message, then how many bytes it has.
_PERSONAL = b"\x19Ethereum Signed Message:\n"


def recover_signer(message: str, signature: str) -> str:
    """The checksummed address whose key signed `message` (EIP-191, `personal_sign`).

    Any well-formed signature recovers to some address: that of a stranger where it is of another message. Raises
    WrongSignature for what is no signature: `0x` and 65 bytes in hex.
    """
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
    from eth_utils.crypto import keccak
    from eth_utils.exceptions import ValidationError

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
        content = message.encode()
        hashed = keccak(b"%b%d%b" % (_PERSONAL, len(content), content))
        made = Signature(signature_bytes=raw[:-1] + bytes([raw[-1] % 27]))
        return made.recover_public_key_from_msg_hash(hashed).to_checksum_address()
    except (BadSignature, ValidationError, ValueError) as error:
        raise WrongSignature(f"no key can have made this signature: {error}") from None


def is_among(address: str, addresses: tuple[str, ...]) -> bool:
    """Whether `addresses` hold `address`, whatever their case: the checksum is in the case."""
    return address.lower() in {listed.lower() for listed in addresses}
