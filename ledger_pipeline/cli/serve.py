"""`ledger-pipeline serve`: the public pages of finalized epochs."""

import tempfile
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from ledger_pipeline.cli.output import note, say
from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.local.environment import databases
from ledger_pipeline.settings import Settings, read_settings

PORT = 8700
LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 (only where --public asks for it)
LOCAL_NAMES = frozenset({"localhost", LOOPBACK, "[::1]"})


def command(
    port: Annotated[int, typer.Option(help="The port to listen at.", min=1, max=65535)] = PORT,
    public: Annotated[
        bool, typer.Option("--public", help="Listen at all addresses, under the name of PUBLIC_URL.")
    ] = False,
) -> None:
    """Serve public pages and JSON of what finalized epochs paid and why, until SIGTERM or Ctrl-C.

    Read-only, for everybody, with no login: who has what of each epoch, who signed it, which events of a contributor
    counted and why, and an archive to verify. Of an epoch that is open or in review they show that it runs, and nothing
    else: the user of DATABASE_WEB_URL, as whom the ledger is read, is shown no more. Put TLS in front.
    """
    settings = read_settings()
    names, has_tls = names_of(settings) if public else (frozenset(), False)
    spec = settings.repo_spec()

    from ledger_pipeline.store.postgres import open_finalized  # what --help does without
    from ledger_pipeline.web.public.serving import serve
    from ledger_pipeline.web.public.shelf import Shelf
    from ledger_pipeline.web.public.site import public_site

    with (
        databases(settings, note) as local,
        open_finalized(local.web_url(), spec.node_id, local.database_limits) as ledger,
        tempfile.TemporaryDirectory(prefix="ledger-archives-") as folder,
    ):
        shelf = Shelf(ledger, spec, Path(folder))
        for scope in spec.scopes:
            shelf.of(scope)  # signatures are recovered now, and not while somebody waits for a page
        say(f"public pages: {settings.public_url if public else f'http://{LOOPBACK}:{port}'}")
        serve(public_site(shelf, LOCAL_NAMES | names, has_tls=has_tls), EVERYWHERE if public else LOOPBACK, port)


def names_of(settings: Settings) -> tuple[frozenset[str], bool]:
    """The name of PUBLIC_URL, and whether it is reached by TLS. Raises SettingsError where it is none."""
    if settings.public_url is None:
        raise SettingsError("--public needs PUBLIC_URL: the address under which browsers reach the public pages")
    try:
        place = urlsplit(settings.public_url)
        name = place.hostname
    except ValueError:
        name = None
    if name is None or place.scheme not in {"http", "https"} or place.path not in {"", "/"} or "@" in place.netloc:
        raise SettingsError("PUBLIC_URL is not valid: write it as https://ledger.example, with no path behind it")
    return frozenset({f"[{name}]" if ":" in name else name}), place.scheme == "https"
