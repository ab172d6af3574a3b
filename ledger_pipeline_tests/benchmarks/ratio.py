"""What a benchmark prints: a name, a ratio, and what it aims at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """`value` compares two things measured in one run."""

    name: str
    value: float
    aim: str

    def __str__(self) -> str:
        return f"{self.value:6.2f}  {self.name} ({self.aim})"
