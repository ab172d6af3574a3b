"""What a benchmark prints: a ratio of two things measured in one run, or an exact count, and what it aims at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A ratio is a float, a count an int."""

    name: str
    value: float
    aim: str

    def __str__(self) -> str:
        value = f"{self.value:6d}" if isinstance(self.value, int) else f"{self.value:6.2f}"
        return f"{value}  {self.name} ({self.aim})"
