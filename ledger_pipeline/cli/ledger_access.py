"""The ledger that a command works on, with its scope and epoch, from settings and options."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ledger_pipeline.cli.options import windows_of
from ledger_pipeline.cli.output import note
from ledger_pipeline.core.errors import EpochNotReady
from ledger_pipeline.core.spec import RepoSpec, Scope
from ledger_pipeline.core.windows import span
from ledger_pipeline.local.environment import databases
from ledger_pipeline.settings import Settings, read_settings
from ledger_pipeline.store.postgres import PostgresLedger, open_ledger
from ledger_pipeline.store.records import Epoch


@dataclass(frozen=True)
class LedgerAccess:
    """An open ledger and the scope that was asked for."""

    settings: Settings
    spec: RepoSpec
    scope: Scope
    ledger: PostgresLedger

    def epoch(self, name: str) -> Epoch:
        """The epoch of the scope that `--epoch` names. Raises EpochNotReady where it was never collected."""
        [window] = windows_of(self.scope, name, None, None)
        for epoch in self.ledger.epochs.within(self.scope.scope_id, window):
            if epoch.window == window:
                return epoch
        raise EpochNotReady(
            f"epoch {window.key} of {self.scope.scope_key} is not in the ledger: "
            f"`ledger-pipeline collect --epoch {window.key}`"
        )

    def epochs(self, first: str | None, last: str | None) -> list[Epoch]:
        """The epochs of the scope from `first` to `last`, oldest first; all there are where neither is given."""
        if first is None and last is None:
            windows = list(
                self.scope.calendar.windows_between(
                    self.scope.window(self.scope.first_epoch), windows_of(self.scope, None, None, None)[0]
                )
            )
        else:
            windows = list(windows_of(self.scope, None, first, last))
        return self.ledger.epochs.within(self.scope.scope_id, span(windows))


@contextmanager
def open_access(scope_key: str | None, *, as_owner: bool = False) -> Iterator[LedgerAccess]:
    """The ledger of the settings, embedded where none is configured. Raises as settings, spec and store do."""
    settings = read_settings()
    spec = settings.repo_spec()
    scope = spec.scope(scope_key) if scope_key else spec.default_scope
    with (
        databases(settings, note) as settings,
        open_ledger(
            settings.owner_url() if as_owner else settings.ledger_url(), spec.node_id, settings.database_limits
        ) as ledger,
    ):
        yield LedgerAccess(settings, spec, scope, ledger)
