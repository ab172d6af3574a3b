"""How many of something, in words for people."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 epoch`, `2 epochs`, `1,300 epochs`; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
