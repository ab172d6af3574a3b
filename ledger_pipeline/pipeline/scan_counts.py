"""What a scan counted, as a checkpoint keeps it: packed, for it is written with every page, whatever epochs there are.

As plain JSON the counts of 520 epochs took longer to write than the page they came with.
"""

import binascii
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import date
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr, TypeAdapter, ValidationError

from ledger_pipeline.core.errors import WindowError
from ledger_pipeline.core.storable_text import is_storable
from ledger_pipeline.core.windows import EpochCalendar, EpochWindow
from ledger_pipeline.pipeline.finish import Sighting
from ledger_pipeline.pipeline.scan_shape import MOST_ITEMS

# More than the counts of MOST_EPOCHS_COUNTED epochs take; what somebody else packed may take any number.
_MOST_BYTES = 4_000_000

_Items = Annotated[StrictInt, Field(ge=0, le=MOST_ITEMS)]
_Counts = dict[str, dict[StrictStr, tuple[_Items, dict[StrictStr, _Items]]]]
_COUNTS: TypeAdapter[_Counts] = TypeAdapter(_Counts)


def packed(sightings: Mapping[EpochWindow, Mapping[str, Sighting]]) -> str:
    """`sightings` as ASCII text. Their windows are those of one calendar, so that each is known by its start."""
    counts = {
        window.start.toordinal(): {
            stream: (sighting.seen, sighting.skipped_by_reason) for stream, sighting in of_window.items()
        }
        for window, of_window in sightings.items()
    }
    return b64encode(zlib.compress(json.dumps(counts, separators=(",", ":")).encode(), level=1)).decode()


def unpacked(text: object, calendar: EpochCalendar) -> dict[EpochWindow, dict[str, Sighting]]:
    """The sightings that `packed` made `text` of. Raises ValueError for anything else."""
    try:
        unpacking = zlib.decompressobj()
        plain = unpacking.decompress(b64decode(str(text), validate=True), _MOST_BYTES)
        counts = _COUNTS.validate_json(plain)
        if not unpacking.eof or not is_storable(counts):
            raise ValueError("these are no counts of ours")
        return {
            calendar.window_starting(date.fromordinal(int(day))): {
                stream: Sighting(seen, skipped) for stream, (seen, skipped) in of_window.items()
            }
            for day, of_window in counts.items()
        }
    except (zlib.error, binascii.Error, ValidationError, WindowError, OverflowError, RecursionError) as error:
        raise ValueError(f"these are no counts of ours: {type(error).__name__}") from None
