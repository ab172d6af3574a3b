"""What owners have: the latest listing counts, whenever it is stored, and what is gone by it stays known."""

import pytest

from ledger_pipeline.core.owners import ListedSourceScope
from ledger_pipeline.core.sources import GITHUB
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.scan_records import Listed, OwnerListing
from ledger_pipeline_tests.builders import OTHER_SCOPE_ID, SCOPE_ID, instant

MONDAY, TUESDAY, WEDNESDAY = instant("2026-02-16"), instant("2026-02-17"), instant("2026-02-18")
ACME = "acme/*"
SITE, DOCS = ListedSourceScope("acme/site", "1"), ListedSourceScope("acme/docs", "2")


def latest(ledger: PostgresLedger) -> OwnerListing:
    return ledger.listings.latest(SCOPE_ID)[GITHUB, ACME]


def test_an_owner_is_known_by_its_latest_listing_whenever_that_is_stored(ledger: PostgresLedger) -> None:
    ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [SITE], MONDAY)
    ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [DOCS], WEDNESDAY)
    expected = OwnerListing(WEDNESDAY, (Listed(DOCS, found_archived=False),), ("acme/site",))
    assert latest(ledger) == expected
    ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [SITE, DOCS], TUESDAY)
    assert latest(ledger) == expected


def test_how_it_was_first_listed_is_remembered(ledger: PostgresLedger) -> None:
    archived = ListedSourceScope("acme/old", "3", is_archived=True)
    later_archived = ListedSourceScope("acme/site", "1", is_archived=True)
    ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [SITE, archived], MONDAY)
    ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [later_archived, archived], TUESDAY)
    archived_first = {row.source_scope.source_scope: row.found_archived for row in latest(ledger).listed}
    assert archived_first == {"acme/old": True, "acme/site": False}


def test_scopes_and_owners_have_their_own(ledger: PostgresLedger) -> None:
    ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [SITE], MONDAY)
    ledger.listings.keep(SCOPE_ID, GITHUB, "beta/*", [ListedSourceScope("beta/x", None)], TUESDAY)
    assert {key: listing.listed_at for key, listing in ledger.listings.latest(SCOPE_ID).items()} == {
        (GITHUB, ACME): MONDAY,
        (GITHUB, "beta/*"): TUESDAY,
    }
    assert ledger.listings.latest(OTHER_SCOPE_ID) == {}


def test_a_listing_of_nothing_is_none(ledger: PostgresLedger) -> None:
    with pytest.raises(ValueError, match="nothing of it"):
        ledger.listings.keep(SCOPE_ID, GITHUB, ACME, [], MONDAY)
