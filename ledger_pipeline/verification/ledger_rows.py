"""The ledger's rows of an epoch as an archive would hold them, so that both are verified by the same."""

from pydantic import ValidationError

from ledger_pipeline.core.errors import VerificationFailed
from ledger_pipeline.core.stored_json import UnreadableJson
from ledger_pipeline.store.statement_records import EpochRows
from ledger_pipeline.verification.record import LISTS, OPTIONAL_LISTS, EpochFacts


def facts_of(rows: EpochRows) -> EpochFacts:
    """The rows of the ledger as an archive would hold them. Raises VerificationFailed naming a row that none could."""
    epoch = dict(rows.epoch)
    _check_json(rows)
    pinned_spec = epoch.pop("pinned_spec") or {}
    lists = {name: getattr(rows, name) for name in (*LISTS, *OPTIONAL_LISTS)}
    try:
        return EpochFacts.model_validate({"epoch": epoch, "pinned_spec": pinned_spec, **lists})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise VerificationFailed(
            f"epoch {epoch['epoch_id']} has a row that nothing of ours wrote: {where}: {first['msg']}"
        ) from None


def _check_json(rows: EpochRows) -> None:
    of_lists = ((name, row) for name in (*LISTS, *OPTIONAL_LISTS) for row in getattr(rows, name))
    for name, row in (("epoch", rows.epoch), *of_lists):
        for column, value in row.items():
            if isinstance(value, UnreadableJson):
                which = next(iter(row.values()))
                raise VerificationFailed(
                    f"epoch {rows.epoch['epoch_id']} has a row that nothing of ours wrote: {column} of {name} {which} "
                    "is JSON that nobody can read, too deep or of numbers that are too long or not whole"
                )
