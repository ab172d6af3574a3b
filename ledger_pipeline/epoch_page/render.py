"""An epoch's content as HTML: one file, no script, nothing fetched. Every value is escaped by the template engine."""

from base64 import b64encode
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from ledger_pipeline.charts import events_per_day_png, units_per_contributor_png
from ledger_pipeline.core.events import EVENT_TYPE_OF_STREAM
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.web_links import is_linkable
from ledger_pipeline.epoch_page.content import EpochContent
from ledger_pipeline.pipeline.contributions import units_text


def render_page(content: EpochContent) -> str:
    """The whole page, UTF-8."""
    environment = Environment(
        loader=PackageLoader("ledger_pipeline", "epoch_page"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"instant": _instant, "units": units_text, "linkable": is_linkable}
    return environment.get_template("epoch.html.j2").render(
        content=content,
        event_types=EVENT_TYPE_OF_STREAM,
        days_picture=_data_url(events_per_day_png(content.days, content.window)),
        people_picture=_data_url(units_per_contributor_png(content.people, content.window)),
    )


def _data_url(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _instant(value: datetime | None) -> str:
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _shown(value: object) -> object:
    """What an expression of the template puts on the page: text as `plain_text` has it, before it is escaped."""
    return plain_text(value) if isinstance(value, str) else value
