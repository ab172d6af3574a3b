"""Numbers and instants as an archive's rows write them: each has one spelling, and others are refused."""

from datetime import UTC
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer, Strict

# Far beyond every total of the ledger's, and far below what Python refuses to print.
MAX_DIGITS = 78


def _digits(value: object) -> object:
    # A fraction or 1e3 would pass for an integer, and "007" for another spelling of one.
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("an integer, or its decimal digits as a string")  # noqa: TRY004 (pydantic asks for this)
    if isinstance(value, str) and (len(value) > MAX_DIGITS or str(int(value)) != value):
        raise ValueError(f"decimal digits, at most {MAX_DIGITS}")
    return int(value)


def _not_negative(value: int) -> int:
    if value < 0:
        raise ValueError("not negative")
    return value


def _in_utc(value: AwareDatetime) -> AwareDatetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time in the years 1 to 9999, in UTC") from None


def _iso(value: AwareDatetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


Digits = Annotated[int, BeforeValidator(_digits), AfterValidator(_not_negative), PlainSerializer(str)]
Whole = Annotated[int, Strict()]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc), PlainSerializer(_iso)]
