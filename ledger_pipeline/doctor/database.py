"""The ledger's database: there, new enough, migrated, open to exactly what the pipeline does, and what it lacks."""

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.doctor.findings import Finding, State, answer_of, failed, fine, skipped, warning
from ledger_pipeline.pipeline.unread import WHAT_TO_DO, known_unread, unread_summary
from ledger_pipeline.settings import Settings
from ledger_pipeline.store import migrations
from ledger_pipeline.store.database_condition import DatabaseFacts, look_at, rights_of
from ledger_pipeline.store.postgres import open_ledger
from ledger_pipeline.store.records import StoredUnread
from ledger_pipeline.store.roles import WRITER

DATABASE = "database"
MIGRATION = "migration"
RIGHTS = "rights"
UNREAD = "unread items"

OLDEST_VERSION = 140000

_AS_WRITER = f"let DATABASE_URL be a user that is a member of {WRITER} and nothing else"


async def check_database(settings: Settings, problem: LedgerError | None) -> tuple[Finding, DatabaseFacts | None]:
    """It answers, and is new enough. `problem` is what kept an embedded one from starting."""
    if problem is not None:
        return failed(DATABASE, problem, "set DATABASE_URL to a Postgres 14 or newer"), None
    try:
        facts = await answer_of(lambda: look_at(settings.ledger_url()))
    except LedgerError as error:
        remedy = "check DATABASE_URL: host, port, name, user and password; start that Postgres, or create the database"
        if "permission denied" in str(error):
            remedy = f"{_AS_WRITER}: GRANT {WRITER} TO that user"
        return failed(DATABASE, error, remedy), None
    seen = f"{facts.where} as {facts.user}, Postgres {facts.version // 10000}.{facts.version % 10000}"
    if facts.version < OLDEST_VERSION:
        return failed(DATABASE, seen, "move the ledger to Postgres 14 or newer"), None
    return fine(DATABASE, seen), facts


def check_migration(facts: DatabaseFacts | None) -> Finding:
    """It is at this release's migration."""
    if facts is None:
        return skipped(MIGRATION, "the database cannot be asked")
    needed = migrations.head()
    if facts.revision == needed:
        return fine(MIGRATION, f"at {needed}")
    seen = f"at {facts.revision or 'none'}, this release needs {needed}"
    if facts.revision is not None and facts.revision > needed:
        return failed(MIGRATION, seen, "a newer release migrated it: install that release")
    return failed(MIGRATION, seen, "run `ledger-pipeline db upgrade`, as the owner (DATABASE_OWNER_URL)")


async def check_rights(settings: Settings, migration: Finding) -> Finding:
    """The pipeline's user may do what the pipeline does, and cannot change what is stored."""
    if migration.state is not State.OK:
        return skipped(RIGHTS, "the database is not at this release's migration")
    try:
        rights = await answer_of(lambda: rights_of(settings.ledger_url()))
    except LedgerError as error:
        return failed(RIGHTS, error, "check that the database stays reachable, and run this again")
    if rights.missing:
        return failed(RIGHTS, f"lacks {', '.join(rights.missing)}", f"{_AS_WRITER}: GRANT {WRITER} TO that user")
    if rights.disabled_triggers:
        seen = f"triggers that keep the ledger are off: {', '.join(rights.disabled_triggers)}"
        return failed(RIGHTS, seen, "as the owner: ALTER TABLE ... ENABLE TRIGGER ...; then find out who disabled them")
    if rights.odd_epochs:
        seen = f"rows of epochs that no pipeline of ours made: {'; '.join(rights.odd_epochs)}"
        return failed(RIGHTS, seen, "as the owner: DELETE FROM epochs WHERE id = ...; then find out who wrote them")
    if rights.lent:
        advice = "as an administrator: REVOKE the one FROM the other, and give both new passwords"
        return warning(RIGHTS, f"a login was lent: {'; '.join(rights.lent)}", advice)
    if rights.settings:
        seen = f"roles begin their sessions with settings of their own: {'; '.join(rights.settings)}"
        advice = (
            "what the pipeline rests on it sets itself; unless you set them, as an administrator: ALTER ROLE ... RESET "
            "ALL, and ALTER ROLE ... IN DATABASE ... RESET ALL; then give that login a new password"
        )
        return warning(RIGHTS, seen, advice)
    if rights.broken_rules:
        seen = f"rows from before a rule break it: {'; '.join(rights.broken_rules)}"
        advice = (
            "as the owner: mend the rows, then ALTER TABLE ... VALIDATE CONSTRAINT ...; and find out who wrote them"
        )
        return warning(RIGHTS, seen, advice)
    if rights.excess:
        seen = f"the user {', '.join(rights.excess)}: it could change stored facts, or switch off what forbids it"
        return warning(RIGHTS, seen, f"{_AS_WRITER}; keep the owner for migrations, in DATABASE_OWNER_URL")
    if rights.makes_objects:
        seen = "the user may make functions and tables in schema public, as everybody may up to Postgres 14"
        return warning(RIGHTS, seen, "as an administrator: REVOKE CREATE ON SCHEMA public FROM PUBLIC, and that user")
    return fine(RIGHTS, "adds facts, and can neither change nor delete them")


async def check_unread(settings: Settings, spec: RepoSpec | None, migration: Finding) -> Finding:
    """Every item that the sources show was read."""
    if spec is None or migration.state is not State.OK:
        return skipped(UNREAD, "the repo-spec or the ledger cannot be read")
    try:
        rows = await answer_of(lambda: _unread(settings, spec))
    except LedgerError as error:
        return failed(UNREAD, error, "check that the database stays reachable, and run this again")
    if rows:
        return warning(UNREAD, unread_summary(rows), WHAT_TO_DO)
    return fine(UNREAD, "none")


def _unread(settings: Settings, spec: RepoSpec) -> list[StoredUnread]:
    with open_ledger(settings.ledger_url(), spec.node_id) as ledger:
        return [row for scope in spec.scopes for row in known_unread(ledger, scope).rows]
