"""GitHub's global ids of items, which hold the ids of the repository and of the item: `PR_kwDO...` and its kind.

The part behind the underscore is MessagePack, `[0, repository's id, item's id]`, in base64.
"""

import base64

_PREFIXES = {"PullRequest": "PR", "PullRequestReview": "PRR", "Issue": "I"}
_KINDS = {prefix: kind for kind, prefix in _PREFIXES.items()}


def item_id(kind: str, repository_id: int, database_id: int) -> str:
    """The id of a pull request, a review or an issue."""
    packed = b"\x93\x00" + _packed(repository_id) + _packed(database_id)
    return f"{_PREFIXES[kind]}_{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"


def item_of(global_id: str) -> tuple[str, int, int]:
    """Kind, repository's id and item's id. Raises ValueError for what `item_id` did not make."""
    prefix, _, text = global_id.partition("_")
    packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    sizes = {0xCE: 4, 0xCF: 8}
    numbers, place = [], 2
    while place < len(packed):
        size = sizes.get(packed[place], -1)
        if size < 0:
            raise ValueError(f"no global id: {global_id}")
        numbers.append(int.from_bytes(packed[place + 1 : place + 1 + size]))
        place += 1 + size
    if prefix not in _KINDS or len(numbers) != 2:
        raise ValueError(f"no global id: {global_id}")
    return _KINDS[prefix], numbers[0], numbers[1]


def _packed(number: int) -> bytes:
    return b"\xce" + number.to_bytes(4) if number < 2**32 else b"\xcf" + number.to_bytes(8)
