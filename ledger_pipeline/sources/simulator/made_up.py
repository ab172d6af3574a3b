"""Ids for what a recording or a generated world does not have: made from names, so they are the same every time."""

import hashlib

USER_ID_BITS = 31
"""GitHub's user ids still fit a GraphQL Int, which is signed and 32 bits wide."""

OBJECT_ID_FLOOR = 2**31
"""Ids of pull requests, reviews and issues left that range in 2024; made-up ones lie above it, as new ones do."""


def stable_number(*parts: object) -> int:
    """A number below 2**48 that depends on the parts alone."""
    digest = hashlib.sha256("\0".join(str(piece) for piece in parts).encode()).digest()
    return int.from_bytes(digest[:6], "big")


def stable_commit(*parts: object) -> str:
    """A commit's id that depends on the parts alone."""
    return hashlib.sha256("\0".join(str(piece) for piece in parts).encode()).hexdigest()[:40]


class IdBook:
    """Hands out ids that are stable and not taken: first `claim` the known ones, then make up the rest."""

    def __init__(self) -> None:
        self._taken: dict[str, set[int]] = {}

    def claim(self, kind: str, number: int) -> int:
        """Note an id that is a fact, so that none is made up like it."""
        self._taken.setdefault(kind, set()).add(number)
        return number

    def user_id(self, login: str) -> int:
        """An id for an account, within 31 bits."""
        return self._free("user", stable_number("user", login.lower()) % 2**USER_ID_BITS, 2**USER_ID_BITS)

    def object_id(self, kind: str, *parts: object) -> int:
        """An id for a pull request, review or issue; above 31 bits."""
        return self._free(kind, OBJECT_ID_FLOOR + stable_number(kind, *parts), 2**49)

    def _free(self, kind: str, wanted: int, limit: int) -> int:
        taken = self._taken.setdefault(kind, set())
        while wanted in taken or wanted == 0:
            wanted = (wanted + 1) % limit
        taken.add(wanted)
        return wanted
