"""Ethereum signatures: who signed a message, and how addresses are compared. Knows eth-keys alone.

Imported when something is recovered: most commands never need it. Not eth-account, whose keys of other kinds take a
second to load, and which raises the recursion limit of the whole process: how a message is laid out before it is hashed
stands here, and tests compare it with eth-account's.
"""

from collections.abc import Mapping

from ledger_pipeline.core.errors import IdentityError, WrongSignature
from ledger_pipeline.core.signing import Signable, StructuredData

# 27 and 28, which some hardware wallets count from zero. A transaction's (35 and more) are of no message.
_RECOVERY_IDS = (0, 1, 27, 28)
# EIP-191, version 0x45: what `personal_sign` puts before a message, then how many bytes it has.
_PERSONAL = b"\x19Ethereum Signed Message:\n"
# EIP-191, version 0x01: what EIP-712 puts before the hashes of a domain and of a structure.
_TYPED = b"\x19\x01"


def recover_signer(message: Signable, signature: str) -> str:
    """The checksummed address whose key signed `message`: a text by `personal_sign`, or typed data.

    Any well-formed signature recovers to some address: that of a stranger where it is of another message. Raises
    WrongSignature for what is no signature: `0x` and 65 bytes in hex.
    """
    from eth_keys.datatypes import Signature
    from eth_keys.exceptions import BadSignature
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
        made = Signature(signature_bytes=raw[:-1] + bytes([raw[-1] % 27]))
        return made.recover_public_key_from_msg_hash(signed_hash(message)).to_checksum_address()
    except (BadSignature, ValidationError, ValueError) as error:
        raise WrongSignature(f"no key can have made this signature: {error}") from None


def signed_hash(message: Signable) -> bytes:
    """The 32 bytes that a wallet signs for `message`. Raises ValueError for a text that UTF-8 has no bytes for."""
    from eth_utils.crypto import keccak

    if isinstance(message, StructuredData):
        domain = _structure_hash("EIP712Domain", message.DOMAIN, message.domain)
        return keccak(_TYPED + domain + _structure_hash(message.PRIMARY_TYPE, message.MEMBERS, message.message))
    content = message.encode()
    return keccak(b"%b%d%b" % (_PERSONAL, len(content), content))


def keccak256(content: bytes) -> bytes:
    """The 32 bytes by which chains hash `content`: Keccak-256, which is not SHA-3."""
    from eth_utils.crypto import keccak

    return keccak(content)


def checksummed(address: str) -> str:
    """The address in its one spelling, of 0x and 40 hex digits. Raises IdentityError where its own checksum is wrong.

    What is all in lower or upper case has none.
    """
    from eth_utils.address import to_checksum_address

    spelled: str = to_checksum_address(address)
    digits = address[2:]
    if spelled != address and digits not in (digits.lower(), digits.upper()):
        raise IdentityError(f"the address {address} has another checksum than its digits: copy it anew")
    return spelled


def is_among(address: str, addresses: tuple[str, ...]) -> bool:
    """Whether `addresses` hold `address`, whatever their case: the checksum is in the case."""
    return address.lower() in {listed.lower() for listed in addresses}


def _structure_hash(name: str, types: Mapping[str, str], values: Mapping[str, str | int]) -> bytes:
    """EIP-712's hash of a structure whose members are strings and whole numbers of 256 bits."""
    from eth_utils.crypto import keccak

    declared = ",".join(f"{kind} {member}" for member, kind in types.items())
    words = [
        value.to_bytes(32, "big") if isinstance(value, int) else keccak(text=value)
        for value in (values[member] for member in types)
    ]
    return keccak(keccak(text=f"{name}({declared})") + b"".join(words))
