"""What Dagster stores of text from outside: nothing acts on who looks at it, and Markdown has no say."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from markdown_it import MarkdownIt

from ledger_pipeline.core.errors import CollectionFailed, SourceRefused
from ledger_pipeline.core.plain_text import as_markdown, plain_message, plain_text
from ledger_pipeline.defs import plain_metadata as plain
from ledger_pipeline.defs.partition_checks import source_scopes_failed
from ledger_pipeline.defs.step_failures import domain_failures
from ledger_pipeline_tests.builders import REPO, scope, window
from ledger_pipeline_tests.defs.deployment import Deployment, write_repo_spec
from ledger_pipeline_tests.defs.test_settlement import run_job
from ledger_pipeline_tests.hostile import HOSTILE, HOSTILE_USERS, acts, hostile_books, hostile_rejections
from ledger_pipeline_tests.store.settlement import APPROVERS, POOL

WEEK = "2026-02-16|default"


def texts(value: Any) -> Iterator[str]:
    """Every string in metadata, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dg.TableMetadataValue):
        yield from texts([dict(record.data) for record in value.records])
    elif isinstance(value, dg.MetadataValue):
        yield from texts(value.value)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def test_every_materialization_and_check_of_a_settled_epoch_shows_values_as_text(deployment: Deployment) -> None:
    write_repo_spec(deployment.folder, REPO, approvers=APPROVERS, base_issuance_credits=POOL)
    books = hostile_books(deployment.ledger)
    proposed = run_job(deployment, "allocate_epoch", WEEK)
    assert proposed.success
    books.close()
    hostile_rejections(books)
    books.finalize(books.signature())
    signed = run_job(deployment, "state_payouts", WEEK)
    assert signed.success
    for run in (proposed, signed):
        for record in deployment.instance.all_logs(run.run_id):
            assert not acts(record.user_message)
    values: dict[str, set[str]] = {}
    for asset in ("epoch", "activity_curation", "epoch_allocations", "pool_components", "payout_statement"):
        values[asset] = set(texts(deployment.metadata(asset, WEEK)))
        assert not [text for text in values[asset] if acts(text)]
    users = {plain_text(value) for value in HOSTILE_USERS}
    assert values["epoch_allocations"] >= users | {plain_text(f"reason {value}") for value in HOSTILE}
    assert values["payout_statement"] >= users
    assert plain_text(HOSTILE[5]) in values["activity_curation"]


def test_a_failure_and_its_red_checks_show_values_as_text(deployment: Deployment) -> None:
    failures = [SourceRefused("github", value, f"no {value}") for value in HOSTILE]
    with pytest.raises(dg.Failure) as failed, domain_failures():
        raise CollectionFailed(failures)
    assert not acts(failed.value.description or "")
    assert not [text for text in texts(failed.value.metadata) if acts(text)]
    [red] = source_scopes_failed(deployment.instance, scope(), [window()], failures)
    assert not [text for text in texts(red.metadata) if acts(text)]
    message = "; ".join(map(str, failures))
    assert rendered(red.description or "") == plain_message(f"{WEEK}: {message}")


@pytest.mark.parametrize("value", HOSTILE)
def test_a_description_reads_as_it_is_whatever_markdown_it_holds(value: str) -> None:
    assert rendered(as_markdown(f"{WEEK}: {value}.")) == plain_message(f"{WEEK}: {value}.")


def rendered(markdown: str) -> str:
    """The text of one paragraph of Markdown that has nothing but text in it."""
    start, inline, end = MarkdownIt("commonmark").enable(["strikethrough", "table"]).parse(markdown)
    assert (start.type, end.type) == ("paragraph_open", "paragraph_close")
    assert {token.type for token in inline.children or []} <= {"text", "text_special"}
    return "".join(token.content for token in inline.children or [])


def test_only_an_address_of_the_web_is_a_link() -> None:
    assert plain.link("https://temporal.example/x") == dg.MetadataValue.url("https://temporal.example/x")
    assert plain.link("javascript:alert(1)") == dg.MetadataValue.text("javascript:alert(1)")
