"""What every row of an archive is: a model with one spelling."""

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from ledger_pipeline.core.hashing import canonical_json

_ID_NAMES = (
    "id",
    "event_id",
    "user_id",
    "platform_user_id",
    "component_id",
    "signer_wallet",
    "signature",
    "inputs_root",
    "facts_hash",
    "reason",
    "provider",
    "external_id",
)


class Record(BaseModel):
    """A row: nothing missing, nothing besides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def canonical(self) -> str:
        """The row in its one spelling."""
        return canonical_json(self.model_dump(mode="json"))

    def ids(self) -> Iterator[str]:
        """Those of its values that rows are looked up by, or that are kept beside what they are looked up by."""
        return (value for name in _ID_NAMES if (value := self.__dict__.get(name)) is not None)
