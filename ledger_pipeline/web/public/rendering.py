"""Templates to bytes: every value is escaped, and nothing from outside is ever markup."""

from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request

from ledger_pipeline.core.claimants import key_of_set_hash_key
from ledger_pipeline.core.counts import counted
from ledger_pipeline.core.plain_text import plain_text
from ledger_pipeline.core.signing import Scheme
from ledger_pipeline.core.web_links import is_linkable
from ledger_pipeline.pipeline.contributions import percent_text, units_text

_FOLDER = "web/public"
_SCHEMES = {
    Scheme.TYPED_DATA: "typed data (EIP-712)",
    Scheme.ATTRIBUTION_TEXT: "attribution text (EIP-191)",
    Scheme.PAYOUT_TEXT: "payout text (EIP-191)",
}
_KINDS = {
    "pr_merged": "Pull request merged",
    "review_submitted": "Review submitted",
    "issue_closed": "Issue closed",
}


def style_sheet() -> bytes:
    """The style sheet as it lies in the package."""
    return files("ledger_pipeline").joinpath(_FOLDER, "static", "style.css").read_bytes()


def style_path(style: bytes) -> str:
    """Where it is served: whoever has kept it under this path has it as it is."""
    return f"/static/{sha256(style).hexdigest()[:16]}.css"


def rendered(request: Request, template: str, **content: object) -> bytes:
    """The template with `content`, UTF-8."""
    return (
        environment()
        .get_template(template)
        .render(path=request.url.path, style_path=request.app.state.style_path, **content)
        .encode()
    )


@cache
def environment() -> Environment:
    """Our templates, with what they may call."""
    made = Environment(
        loader=PackageLoader("ledger_pipeline", f"{_FOLDER}/templates"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "counted": counted,
        "day": _day,
        "instant": _instant,
        "iso": _iso,
        "kind": lambda event_type: _KINDS.get(event_type, event_type.replace("_", " ").capitalize()),
        "linkable": is_linkable,
        "path_part": lambda claimant: quote(key_of_set_hash_key(claimant), safe=":"),
        "percent": percent_text,
        "permille": lambda amount, largest: f"{100 * amount / largest:.1f}" if largest else "0",
        "scheme": lambda scheme: _SCHEMES.get(scheme, scheme),
        "units": units_text,
    }
    return made


def _shown(value: object) -> object:
    """What an expression puts on the page: text as `plain_text` has it, before it is escaped; our own markup as is."""
    return plain_text(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _day(value: datetime) -> str:
    return f"{value.astimezone(UTC):%-d %B %Y}"


def _instant(value: datetime) -> str:
    return f"{value.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
