"""`ledger-pipeline settings`: every variable that a deployment may set."""

from ledger_pipeline.cli.options import Json
from ledger_pipeline.cli.output import print_json, print_table, sentence
from ledger_pipeline.core.errors import SettingsError
from ledger_pipeline.settings import Settings
from ledger_pipeline.settings_variables import given_variables, unreadable_secret


def command(as_json: Json = False) -> None:
    """Print every variable that a deployment may set: what it is, its default, and whether it is set here.

    Values are not shown, for they may be secrets.
    """
    try:
        given = given_variables()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(unreadable_secret(error)) from None
    rows = [
        {
            "variable": name.upper(),
            "what_it_is": field.description,
            "default": None if field.default is None else str(field.default),
            "is_set": name in given,
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        "Settings, from the environment or from files in /run/secrets",
        ["variable", "what it is", "default", "here"],
        [
            [row["variable"], sentence(str(row["what_it_is"])), row["default"], "set" if row["is_set"] else None]
            for row in rows
        ],
    )
