"""The content of an epoch, and of all of them, as HTML: one file each, no script, nothing fetched.

Every value is escaped by the template engine.
"""

from base64 import b64encode
from collections.abc import Container
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from ledger_pipeline.charts import credits_per_epoch_png, events_per_day_png, units_per_contributor_png
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.web_links import is_linkable
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.epoch_page.content import EpochContent
from ledger_pipeline.epoch_page.index import IndexContent
from ledger_pipeline.pipeline.contributions import percent_text, units_text


def render_page(content: EpochContent) -> str:
    """The whole page, UTF-8."""
    return (
        _environment()
        .get_template("epoch.html.j2")
        .render(
            content=content,
            days_picture=_data_url(events_per_day_png(content.days, content.window, content.scope.stream_kinds)),
            people_picture=_data_url(units_per_contributor_png(content.people, content.window)),
        )
    )


def page_name(window: EpochWindow, scope: Scope) -> str:
    """What the file of an epoch's page is called where nobody says otherwise."""
    return f"epoch-{window.key}-{scope.scope_key}.html"


def render_index(content: IndexContent, pages: Container[str] = ()) -> str:
    """The page over all epochs, UTF-8; it links to those of `pages`, files beside it, that are an epoch's."""
    credits_of = {row.epoch.window.key: row.credits for row in content.epochs}
    return (
        _environment()
        .get_template("index.html.j2")
        .render(content=content, pages=pages, page_name=page_name, picture=_data_url(credits_per_epoch_png(credits_of)))
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ledger_pipeline", "epoch_page"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "instant": _instant,
        "units": units_text,
        "percent": percent_text,
        "counted": counted,
        "linkable": is_linkable,
    }
    return environment


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _instant(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _shown(value: object) -> object:
    """What an expression of the template puts on the page: text as `plain_text` has it, before it is escaped."""
    return plain_text(value) if isinstance(value, str) else value
