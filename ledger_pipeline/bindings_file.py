"""Lists as people write them, in CSV or YAML: accounts and the users they belong to, claimants and their wallets."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

import yaml

from ledger_pipeline.core.errors import IdentityError
from ledger_pipeline.core.identifiers import check_binding
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.shallow_yaml import ShallowLoader
from ledger_pipeline.store.settlement_records import NewBinding

KEYS = ("provider", "external_id", "user_id")
WALLET_KEYS = ("claimant", "wallet")


class _AsWritten(ShallowLoader):
    """Every scalar but null is text as it is written: YAML's own rules read 0123 as 83, and yes as True."""


_AsWritten.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] == "tag:yaml.org,2002:null"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_bindings(file: Path) -> list[NewBinding]:
    """The bindings in a CSV or YAML file. Raises IdentityError naming file, row and what is wrong."""
    rows = _rows(file, "bindings", KEYS)
    bindings = [binding_of(f"{file}: row {number}", row) for number, row in enumerate(rows, start=1)]
    users: dict[tuple[str, str], str] = {}
    for binding in bindings:
        user = users.setdefault((binding.provider, binding.external_id), binding.user_id)
        if user != binding.user_id:
            raise IdentityError(
                f"{file}: {binding.provider} {binding.external_id} is both {user} and {binding.user_id}"
            )
    return list(dict.fromkeys(bindings))


def read_wallets(file: Path) -> dict[str, str]:
    """The wallets by claimants' keys in a CSV or YAML file. Raises IdentityError naming file, row and what is wrong."""
    wallets: dict[str, str] = {}
    for number, row in enumerate(_rows(file, "wallets", WALLET_KEYS), start=1):
        where = f"{file}: row {number}"
        if not isinstance(row, dict) or set(row) != set(WALLET_KEYS):
            raise IdentityError(f"{where}: {row!r} is no wallet: {' and '.join(WALLET_KEYS)}")
        claimant_key, wallet = (row[key].strip(" ") if isinstance(row[key], str) else "" for key in WALLET_KEYS)
        if not claimant_key or not wallet:
            raise IdentityError(f"{where}: claimant or wallet is missing")
        if wallets.setdefault(claimant_key, wallet) != wallet:
            raise IdentityError(f"{where}: {claimant_key} has another wallet further up")
    return wallets


def binding_of(where: str, row: object) -> NewBinding:
    """The binding that a row is, `where` says of what. Raises IdentityError naming what is wrong."""
    if not isinstance(row, dict) or not set(row) <= set(KEYS):
        raise IdentityError(f"{where}: {row!r} is no binding: external_id, user_id, and provider where not github")
    if not all(value is None or isinstance(value, str) for value in row.values()):
        raise IdentityError(f"{where}: {row!r} is no binding: each of its values is one text")
    values = {"provider": GITHUB, **{key: value.strip(" ") for key, value in row.items() if value is not None}}
    for key in KEYS:
        if not values.get(key):
            raise IdentityError(f"{where}: {key} is missing")
    binding = NewBinding(**values)
    try:
        check_binding(binding.provider, binding.external_id, binding.user_id)
    except IdentityError as error:
        raise IdentityError(f"{where}: {error}") from None
    return binding


def _rows(file: Path, what: str, keys: tuple[str, ...]) -> list[Any]:
    """The rows of a CSV or YAML file, one at least."""
    try:
        text = file.read_text(encoding="utf-8-sig")  # as spreadsheets write it
    except (OSError, UnicodeDecodeError) as error:
        raise IdentityError(f"cannot read {file}: {error}") from error
    if file.suffix == ".csv":
        try:
            rows: Any = list(csv.DictReader(StringIO(text, newline="")))
        except csv.Error as error:
            raise IdentityError(f"{file}: not CSV: {error}") from error
    elif file.suffix in {".yaml", ".yml"}:
        try:
            rows = yaml.load(text, Loader=_AsWritten)  # noqa: S506 (a safe loader)
        except yaml.YAMLError as error:
            raise IdentityError(f"{file}: not YAML: {error}") from error
    else:
        raise IdentityError(f"{file}: give a .csv, .yaml or .yml file")
    if not isinstance(rows, list) or not rows:
        raise IdentityError(f"{file}: no list of {what}: rows with {', '.join(keys)}")
    return rows
