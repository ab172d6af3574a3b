"""Sources without checks of their own: each opens with the settings there are, and answers for what is collected."""

from ledger_pipeline.core.errors import LedgerError
from ledger_pipeline.core.sources import SourceKind
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.doctor.configuration import source_refs_of
from ledger_pipeline.doctor.findings import Finding, answer_of, failed, fine
from ledger_pipeline.settings import Settings
from ledger_pipeline.sources.registry import open_source


async def check_source(settings: Settings, spec: RepoSpec, kind: SourceKind) -> Finding:
    """Every source_scope that some scope collects from the source answers, asked as a collection would."""
    source_scopes = source_refs_of(spec, kind.name)

    def ask() -> list[str]:
        with open_source(settings, kind.name) as source:
            answered = source.heads(source_scopes).heads
        return [source_scope for source_scope in source_scopes if source_scope not in answered]

    remedy = f"check source_refs of activity_sources.{kind.name}, and the settings that {kind.title} is read with"
    try:
        missing = await answer_of(ask)
    except LedgerError as error:
        return failed(kind.name, error, remedy)
    if missing:
        seen = f"{len(missing)} of {len(source_scopes)} not there, or not for us: {', '.join(missing)}"
        return failed(kind.name, seen, remedy)
    return fine(kind.name, f"all {len(source_scopes)} readable")
