"""A co-authored event is on the page of everybody who has a part of it, with that part, as it was allocated."""

import re
from pathlib import Path

from ledger_pipeline.core.claimants import key_of_set_hash_key
from ledger_pipeline.core.spec import RepoSpec
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline_tests.builders import NODE_ID
from ledger_pipeline_tests.pipeline.test_co_authors import ANNIE, KATHERINE, SHARED, shared
from ledger_pipeline_tests.store.settlement import ADA_USER, GRACE_USER
from ledger_pipeline_tests.web.crawling import API, asked
from ledger_pipeline_tests.web.publishing import serving, shown


def test_everybody_sees_their_part_and_why(ledger: PostgresLedger, ledger_url: str, archives: Path) -> None:
    books = shared(ledger)
    allocations = books.materialize()
    books.close()
    books.finalize(books.signature())
    assert {row.user_id for row in allocations} == {ADA_USER, GRACE_USER, ANNIE, KATHERINE}
    with shown(ledger_url, archives, RepoSpec(NODE_ID, (books.scope,), "x.yaml")) as app, serving(app) as site:
        items = {item["claimantKey"]: item for item in asked(f"{site}{API}/1/claimants").json()["items"]}
        for row in allocations:
            key = key_of_set_hash_key(row.user_id)
            page = asked(f"{site}/epochs/1/claimants/{key}").text
            parts = [int(float(units) * 1000) for units in re.findall(r'<p class="units">([\d.]+)</p>', page)]
            assert (sum(parts), len(parts)) == (row.proposed_units, row.activity_count), key
            assert "and shared by 4." in page
            assert SHARED.id in items[key]["receiptIds"]
            assert len(items[key]["receiptIds"]) == row.activity_count
            assert asked(f"{site}/contributors/{key}").status_code == 200
