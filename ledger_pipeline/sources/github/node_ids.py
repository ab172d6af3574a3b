"""The number in GitHub's global ids: an old GitHub Enterprise tells some objects' numbers nowhere else.

`PRR_kwDO...` holds MessagePack in base64, `[0, repository's id, object's id]`; older ones are text in base64, as
`017:PullRequestReview123`.
"""

import base64
import re

# The number behind each of MessagePack's marks for unsigned integers, in bytes.
_SIZES = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_THREE = 0x93
_OLD = re.compile(r"\d+:[A-Za-z]+(\d+)")


def database_id(node_id: str) -> str | None:
    """The object's own number; None where the id is of another form."""
    text = node_id.partition("_")[2] or node_id
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if "_" not in node_id:
            old = _OLD.fullmatch(packed.decode("ascii"))
            return None if old is None else old.group(1)
        return _last_of_three(packed)
    except ValueError:
        return None


def _last_of_three(packed: bytes) -> str | None:
    if packed[:1] != bytes([_THREE]):
        return None
    numbers, place = [], 1
    while place < len(packed):
        mark, place = packed[place], place + 1
        if mark < 0x80:
            numbers.append(mark)
            continue
        size = _SIZES.get(mark)
        if size is None or place + size > len(packed):
            return None
        numbers.append(int.from_bytes(packed[place : place + size]))
        place += size
    return str(numbers[-1]) if len(numbers) == 3 else None
