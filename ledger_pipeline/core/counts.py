"""How many of something, in words for people."""

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 epoch`, `2 epochs`, `1,300 epochs`; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def named(noun: str, names: Sequence[str]) -> str:
    """`epoch 2026-02-16`, or `epochs 2026-02-16, 2026-02-23`."""
    return f"{noun if len(names) == 1 else f'{noun}s'} {', '.join(names)}"
