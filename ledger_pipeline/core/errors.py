"""Every error this project raises on purpose. What a library raises is translated where it is understood.

LedgerError
├── ConfigurationError          the operator must change a file or the environment
│   ├── SpecError               .cogni/*.yaml: names file, key, value and what would be right
│   ├── SettingsError           the environment: names the variable
│   └── SelectionError          a selection policy that nobody has, or a setting of it that is wrong
├── WindowError                 an instant, length or epoch key that no epoch window answers to
├── UnknownScope                a scope key that the repo-spec does not have
├── EventError                  a payload that cannot become an activity event
├── FactsError                  stored facts of an event that are malformed: names the field
├── AllocationError             weights, units or a pool that no number of credits can follow from
├── IdentityError               a binding of a person that contradicts one there is, or a list of them that is malformed
│   └── LinkError               a message that links an account, or who vouches for it, is not accepted
│       ├── MalformedLink       it is no such message
│       ├── ExpiredLink         its time is over, or further off than any message may be good for
│       ├── ForeignLink         of another node
│       ├── UnprovenLink        not signed by its wallet, or vouched for by nobody who may
│       └── UsedNonce           it linked an account before
├── EpochNotReady               an epoch is not at the step that was asked for: says what blocks it
├── SignatureError              a statement's signature that cannot be accepted; nothing is written
│   ├── WrongSignature          it is none, or not of this message
│   ├── ForeignSignature        of another scope's or epoch's statement
│   ├── StaleSignature          of the same epoch, as it stood before units or pool changed
│   ├── SignerNotApproved       a good signature by somebody who is no approver
│   └── ApproversChanged        the approvers are not those that were pinned when the epoch closed
├── ArchiveError                a file that is no archive of an epoch
├── DistributionError           tokens that cannot be distributed so, or a proof that shows nothing; nothing is written
├── VerificationFailed          numbers that do not follow from the rows they should follow from
├── SourceError                 a source_scope could not be read; the others go on
│   ├── SourceUnavailable       worth retrying: limits, outages, timeouts
│   ├── SourceRefused           permanent: missing repository, bad credentials, blocked
│   └── ScanBroken              a fault of this program, or a fact that the ledger refuses, in this source_scope's scan
├── CollectionFailed            some source_scopes failed; what the others gave is stored
├── PayloadError                what a Temporal client sent is not what the contract says: names the field
├── DagsterError                Dagster's API refused, or its run failed
│   └── DagsterUnavailable      worth retrying: no answer, code location loading
├── TemporalUnavailable         worth retrying: no connection to the Temporal server
├── CollectionNotStarted        a schedule that is not there, or that started nothing
├── CollectionRunFailed         a collection that was waited for failed or was canceled
├── ScheduleSyncFailed          some schedules could not be brought to what the repo-spec wants
└── StoreError                  the ledger refused
    ├── StoreUnavailable        worth retrying: no connection, server restarting
    ├── LedgerNotMigrated       the database is not at the migration this code needs
    ├── EpochOverlap            an epoch of the scope already covers part of the window
    └── IngestionClosed         a new event for an epoch that is in review or finalized

`retryable` says whether the same call may succeed later with nothing changed. It is decided here, by class,
so that Dagster and Temporal adapters never guess from a message.
"""

from collections.abc import Sequence
from typing import ClassVar

from ledger_pipeline.core.known_secrets import without_secrets
from ledger_pipeline.core.plain_text import plain_message

# Room for what was wrong, where and what to do, and none for a page of HTML.
PROBLEM_CHARACTERS = 300


class LedgerError(Exception):
    """Root of the tree; its message is one line fit for an operator's terminal, without a secret that is known."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "") -> None:
        super().__init__(without_secrets(message))


class ConfigurationError(LedgerError):
    """The operator must change a file or the environment before anything can work."""


class SpecError(ConfigurationError):
    """A repo-spec file is wrong: `file` and dotted `key` say where, the message what would be right."""

    def __init__(self, file: str, key: str, problem: str) -> None:
        self.file = file
        self.key = key
        self.problem = problem
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")


class SettingsError(ConfigurationError):
    """An environment variable is missing or wrong."""


class SelectionError(ConfigurationError):
    """A selection policy that is not installed, that has no such setting, or that does not decide what it was asked."""


class WindowError(LedgerError):
    """An instant, length or epoch key that no epoch window answers to."""


class UnknownScope(LedgerError):
    """A scope key that the repo-spec does not have."""


class EventError(LedgerError):
    """A payload that cannot become an activity event; the message names the item."""


class FactsError(LedgerError):
    """Stored facts of an event that are malformed: `field` is the place, `problem` what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = plain_message(field, PROBLEM_CHARACTERS)
        self.problem = plain_message(problem, PROBLEM_CHARACTERS)
        super().__init__(f"{self.field} {self.problem}")


class AllocationError(LedgerError):
    """Weights, units or a pool that no number of credits can follow from."""


class IdentityError(LedgerError):
    """A binding that contradicts one there is, or a list of bindings that is malformed."""


class LinkError(IdentityError):
    """A message that links an account, or who vouches for it, is not accepted; says so shortly, whatever it quotes."""

    def __init__(self, message: str) -> None:
        super().__init__(plain_message(message, PROBLEM_CHARACTERS))


class MalformedLink(LinkError):
    """The text is no such message."""


class ExpiredLink(LinkError):
    """The message's time is over, or further off than any message may be good for."""


class ForeignLink(LinkError):
    """The message is of another node."""


class UnprovenLink(LinkError):
    """The message is not signed by its wallet, or nobody who may has vouched for it."""


class UsedNonce(LinkError):
    """The message linked an account before."""


class EpochNotReady(LedgerError):
    """An epoch is not at the step that was asked for; the message says what blocks it."""


class SignatureError(LedgerError):
    """A statement's signature that cannot be accepted; nothing is written."""


class WrongSignature(SignatureError):
    """No signature, or one that is not of the statement's message."""


class ForeignSignature(SignatureError):
    """A signature of another scope's or epoch's statement."""


class StaleSignature(SignatureError):
    """A signature of the epoch's statement as it stood before units or pool changed."""


class SignerNotApproved(SignatureError):
    """A good signature by somebody who is not among the scope's approvers."""


class ApproversChanged(SignatureError):
    """The scope's approvers are not those that were pinned when the epoch closed."""


class ArchiveError(LedgerError):
    """A file that is no archive of an epoch, or cannot be read or written."""


class DistributionError(LedgerError):
    """Tokens that cannot be distributed so, or a proof that shows nothing; nothing is written."""


class VerificationFailed(LedgerError):
    """Stored numbers do not follow from the rows they should follow from; the differences were listed."""


class SourceError(LedgerError):
    """One source_scope could not be read; `problem` may quote the source, and is kept short, plain and on one line."""

    def __init__(self, source: str, source_scope: str, problem: str) -> None:
        self.source = source
        self.source_scope = source_scope
        self.problem = plain_message(problem, PROBLEM_CHARACTERS)
        super().__init__(f"{source} {source_scope}: {self.problem}")


class SourceUnavailable(SourceError):
    """The source may answer later: a limit, an outage, a timeout.

    `retry_after_seconds` is how long it is to be left alone until then; None where nobody knows.
    """

    retryable: ClassVar[bool] = True

    def __init__(
        self, source: str, source_scope: str, problem: str, *, retry_after_seconds: float | None = None
    ) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(source, source_scope, problem)


class SourceRefused(SourceError):
    """The source will answer the same again: no such repository, bad credentials, blocked."""


class ScanBroken(SourceError):
    """A scan ended by an error that nobody foresaw, or by a fact that the ledger refuses; the others go on."""


class CollectionFailed(LedgerError):
    """At least one source_scope failed. The events of the others are in the ledger, their cursors moved.

    Worth retrying when any of the failures is.
    """

    def __init__(self, failures: Sequence[SourceError]) -> None:
        self.failures = tuple(failures)
        super().__init__("; ".join(str(failure) for failure in self.failures))

    @property
    def worth_retrying(self) -> bool:
        """Whether any of the failed source_scopes may answer later."""
        return any(failure.retryable for failure in self.failures)

    @property
    def retry_after_seconds(self) -> float | None:
        """How long until all that were told to wait may be asked again; None where none was."""
        waits = [failure.retry_after_seconds for failure in self.failures if isinstance(failure, SourceUnavailable)]
        return max((seconds for seconds in waits if seconds is not None), default=None)


class PayloadError(LedgerError):
    """What a Temporal client sent breaks the contract: `field` is its dotted place, `problem` what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")


class DagsterError(LedgerError):
    """Dagster's API refused what was asked of it."""


class DagsterUnavailable(DagsterError):
    """Dagster's API did not answer, or its code location is not loaded yet."""

    retryable: ClassVar[bool] = True


class TemporalUnavailable(LedgerError):
    """The Temporal server did not answer."""

    retryable: ClassVar[bool] = True


class CollectionNotStarted(LedgerError):
    """There is no such Temporal schedule, or it started nothing."""


class CollectionRunFailed(LedgerError):
    """A collection that was waited for failed or was canceled; the message is its own."""


class ScheduleSyncFailed(LedgerError):
    """At least one Temporal schedule could not be brought to what the repo-spec wants; the others were."""


class StoreError(LedgerError):
    """The ledger refused or could not be reached."""


class StoreUnavailable(StoreError):
    """The database did not answer; nothing was written."""

    retryable: ClassVar[bool] = True


class LedgerNotMigrated(StoreError):
    """The database is not at the migration this code needs; `ledger-pipeline db upgrade` brings it there."""


class EpochOverlap(StoreError):
    """An epoch of the scope already covers part of the window."""


class IngestionClosed(StoreError):
    """A new event for an epoch in review or finalized; the database refuses it whoever asks."""
