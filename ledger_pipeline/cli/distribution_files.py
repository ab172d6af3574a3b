"""The files of a distribution: its manifest, a proof for each claimant, and what Safe's airdrop app takes."""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ledger_pipeline.core.distribution import Distribution
from ledger_pipeline.core.errors import DistributionError
from ledger_pipeline.core.json_text import json_of
from ledger_pipeline.store.distribution_records import DistributionSignature

MANIFEST = "manifest.json"
AIRDROP = "airdrop.csv"
SIGNATURES = "signatures.json"
PROOFS = "proofs"
# A manifest of ten thousand claimants has a tenth of it.
_MOST_CHARACTERS = 200_000_000


def write_files(
    distribution: Distribution, signatures: Sequence[DistributionSignature], folder: Path, decimals: int | None
) -> None:
    """All files in a folder that was not there, or none. Raises DistributionError where it is, or cannot be written."""
    if folder.exists():
        raise DistributionError(f"{folder} is there already: give a folder that is not")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as unfinished:
            made = Path(unfinished) / "files"
            (made / PROOFS).mkdir(parents=True)
            _write(made / MANIFEST, distribution.manifest())
            rows = [{"signer": row.signer_wallet, "signature": row.signature} for row in signatures]
            _write(made / SIGNATURES, json.dumps({"signatures": rows}, separators=(",", ":")))
            for leaf in distribution.leaves:
                content = json.dumps(distribution.proof_file(leaf), ensure_ascii=False, separators=(",", ":"))
                _write(made / PROOFS / f"{leaf.index:06}-{_file_name(leaf.paid.claimant_key)}.json", content)
            if decimals is not None:
                _write(made / AIRDROP, airdrop_csv(distribution, decimals))
            shutil.move(made, folder)
    except OSError as error:
        raise DistributionError(f"cannot write {folder}: {error}") from error


def airdrop_csv(distribution: Distribution, decimals: int) -> str:
    """What Safe's app "CSV Airdrop" takes: a transfer a line, its amount in whole tokens, exact."""
    lines = ["token_type,token_address,receiver,amount"]
    lines += [
        f"erc20,{distribution.terms.token_address},{leaf.paid.account},{_in_tokens(leaf.amount, decimals)}"
        for leaf in distribution.leaves
        if leaf.amount
    ]
    return "\n".join(lines) + "\n"


def read_text_file(file: Path) -> str:
    """What is in a file of a distribution, to the byte. Raises DistributionError where it cannot be read."""
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            text = stream.read(_MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise DistributionError(f"cannot read {file}: {error}") from error
    if len(text) > _MOST_CHARACTERS:
        raise DistributionError(f"{file} has more than {_MOST_CHARACTERS:,} characters, which no manifest needs")
    return text


def read_json_file(file: Path) -> dict[str, object]:
    """The JSON object in a file. Raises DistributionError for what is none."""
    text = read_text_file(file)
    try:
        content = json_of(text)
    except ValueError as error:
        raise DistributionError(f"cannot read {file}: {error}") from error
    if not isinstance(content, dict):
        raise DistributionError(f"{file} is no JSON object")
    return content


def _in_tokens(amount: int, decimals: int) -> str:
    digits = f"{amount:0{decimals + 1}}"
    fraction = digits[len(digits) - decimals :].rstrip("0")
    whole = digits[: len(digits) - decimals]
    return f"{whole}.{fraction}" if fraction else whole


def _write(file: Path, content: str) -> None:
    file.write_text(content, encoding="utf-8", newline="")


def _file_name(claimant_key: str) -> str:
    """Of a key that somebody may have written into the ledger: no other folder, and short."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", claimant_key[:80])
