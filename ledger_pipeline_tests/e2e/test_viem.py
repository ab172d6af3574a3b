"""What `sign-data` prints is signed by viem, as a browser's application signs it, and is accepted."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from ledger_pipeline.core.signing import Scheme, TypedData
from ledger_pipeline.pipeline.settle import finalize
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.e2e.node_packages import answer_of, installed
from ledger_pipeline_tests.store.settlement import APPROVER, reviewed

VIEM = "viem@2.57.20"
SIGN = """
import { readFileSync } from "node:fs";
import { privateKeyToAccount } from "viem/accounts";
const account = privateKeyToAccount(process.argv[2]);
const printed = JSON.parse(readFileSync(0, "utf8"));
const text = process.argv[3];
console.log(JSON.stringify([await account.signTypedData(printed), await account.signMessage({ message: text })]));
"""


@pytest.mark.e2e
def test_viem_signs_what_sign_data_prints_and_it_is_accepted(ledger: PostgresLedger, tmp_path: Path) -> None:
    node = installed(tmp_path, VIEM)
    script = tmp_path / "sign.mjs"
    script.write_text(SIGN)
    books = reviewed(ledger, chain_id=84532)
    forms = books.draft().forms
    typed = forms[Scheme.TYPED_DATA]
    assert isinstance(typed, TypedData)
    key = f"0x{sha256(APPROVER.name.encode()).hexdigest()}"
    for printed in (typed.to_json(), typed.to_wallet_json()):
        signed = answer_of(node, script, key, books.draft().message, given=json.dumps(printed))
        by_typed_data, by_text = json.loads(signed)
        assert by_typed_data == APPROVER.sign(typed)
        assert by_text == APPROVER.sign(forms[Scheme.ATTRIBUTION_TEXT])
    made = finalize(ledger, books.spec, books.epoch, by_typed_data)
    assert made.scheme is Scheme.TYPED_DATA
