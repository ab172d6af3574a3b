"""What the public pages say of finalized epochs, read over real HTTP from a real ledger."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ledger_pipeline_tests.store.settlement import APPROVER, APPROVERS, SECOND_APPROVER
from ledger_pipeline_tests.web.crawling import Page, asked, crawled
from ledger_pipeline_tests.web.publishing import FINALIZED

AMENDED = 3  # of these the second but last
LARGEST_BYTES = 100_000
CHART = re.compile(r'<figure class="chart">.*?</figure>', re.DOTALL)


def said(url: str) -> str:
    """The page's text, as it is read: no elements, single spaces."""
    answer = asked(url)
    assert answer.status_code == 200, answer.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text.partition("<main")[2]))


def test_every_link_leads_somewhere_and_no_page_is_large_or_fetches_anything(site: str) -> None:
    answers = crawled(site)
    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code != 200} == {}
    assert sum("/claimants/" in path for path in answers) >= 4 * 6
    for path, answer in answers.items():
        if answer.headers["content-type"].startswith("text/html"):
            page = Page(answer.text)
            assert len(CHART.sub("", answer.text).encode()) < LARGEST_BYTES, path
            assert not page.elements & {"script", "style", "iframe", "img", "form", "object", "embed"}, path
            assert not {name for name in page.attributes if name.startswith("on")} | page.attributes & {"style", "src"}
            outside = [link for link in page.links if not link["href"].startswith(("/", "#", "?"))]
            assert all(link["href"].startswith("https://github.com/") for link in outside)
            assert {link["rel"] for link in outside} <= {"noopener noreferrer nofollow"}


def test_the_list_says_what_each_epoch_shared_out_and_which_one_runs(site: str) -> None:
    text = said(site)
    assert "The epoch of 16 March 2026 to 23 March 2026 , 00:00 UTC, is running." in text
    assert "Finalized epochs 4 Credits shared out 40,000" in text
    assert [day for day in re.findall(r"2026-\d\d-\d\d", text.partition("Stated")[2]) if day in text][:4] == [
        week.key for week in reversed(FINALIZED)
    ]
    assert text.count("amended") == 1


def test_an_epoch_says_who_has_what_who_signed_and_what_was_put_right(site: str) -> None:
    text = said(f"{site}/epochs/{AMENDED}")
    assert "Epoch 2026-03-02" in text
    assert "2 March 2026 to 9 March 2026 , 00:00 UTC" in text
    assert "ana has 5.25 units since then: “the migration was hers too”" in text
    assert all(f"{wallet.address} payout text (EIP-191)," in text for wallet in (APPROVER, SECOND_APPROVER))
    assert text.count("Superseded") == 1
    assert "Which events count is decided by the policy fair-v1 , and by approvers." in text
    assert "Base issuance 10,000" in text
    assert f"verify --archive epoch-2026-03-02-default.zip --approvers {','.join(APPROVERS)}" in text


def test_the_archive_verifies_by_the_line_that_the_page_says(site: str, tmp_path: Path) -> None:
    archive = asked(f"{site}/epochs/{AMENDED}/archive.zip")
    assert archive.headers["content-disposition"] == 'attachment; filename="epoch-2026-03-02-default.zip"'
    (tmp_path / "epoch-2026-03-02-default.zip").write_bytes(archive.content)
    line = re.search(r"<code>ledger-pipeline (verify --archive [^<]+)</code>", asked(f"{site}/epochs/{AMENDED}").text)
    assert line is not None
    command = [sys.executable, "-c", "from ledger_pipeline.cli.app import main; main()", *line[1].split()]
    verified = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert asked(f"{site}/epochs/{AMENDED}/archive.zip").content == archive.content


def test_who_asks_why_sees_every_event_and_who_decided_so(site: str) -> None:
    text = said(f"{site}/epochs/2/claimants/user:bo")
    assert "An approver decided: “ran the release” 2.5 In the statement 2.5 units" in text
    every = " ".join(said(f"{site}{path}") for path in crawled(site) if path.startswith("/epochs/2/claimants/"))
    assert "Counts, weighed by an approver. An approver decided: half of it was generated" in every
    assert "Left out. An approver decided: the same as the one before" in every
    assert "weighed as its kind. Nobody knows into which branch the pull request goes" in every
    corrected = said(f"{site}/epochs/{AMENDED}/claimants/user:ana")
    assert "Put right by an amendment: “the migration was hers too” 5.25 In the statement 5.25 units" in corrected


def test_units_of_events_that_count_add_up_to_what_they_are_said_to(site: str) -> None:
    for path in crawled(site):
        if re.fullmatch(r"/epochs/\d+/claimants/[^?]+", path):
            page = asked(site + path).text
            events = sum(int(float(units) * 1000) for units in re.findall(r'<p class="units">([\d.]+)</p>', page))
            stated = re.search(r"count(?:s)? for</span><strong>([\d.]+)</strong>", page)
            assert events == (int(float(stated[1]) * 1000) if stated else 0), path


def test_a_contributor_sees_every_epoch_with_a_running_total_and_a_chart(site: str) -> None:
    answer = asked(f"{site}/contributors/user:ana")
    text = said(f"{site}/contributors/user:ana")
    rows = re.findall(r"(2026-\d\d-\d\d) [\d,]+ [\d,]+ [\d.]+ [\d.]+ % ([\d,]+) ([\d,]+)", text.partition("Total")[2])
    assert [day for day, _, _ in rows] == [week.key for week in reversed(FINALIZED)]
    amounts = [int(amount.replace(",", "")) for _, amount, _ in reversed(rows)]
    totals = [int(total.replace(",", "")) for _, _, total in reversed(rows)]
    assert totals == [sum(amounts[: place + 1]) for place in range(len(amounts))]
    assert answer.text.count('<rect class="paid"') == len(FINALIZED)
    assert '<polyline class="total"' in answer.text


def test_what_an_account_has_that_nobody_linked_is_reserved(site: str) -> None:
    text = said(f"{site}/contributors")
    assert "passer-by not linked" in text
    page = said(f"{site}/contributors/identity:github:2000")
    assert "What it has is reserved for whoever does." in page
    assert "Credits reserved" in page


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/epochs/99", "No finalized epoch has this number."),
        ("/epochs/0", "No finalized epoch has this number."),
        ("/epochs/x", "No finalized epoch has this number."),
        ("/epochs/" + "9" * 3900, "No finalized epoch has this number."),
        ("/epochs/1/claimants/user:nobody", "Nobody of this name has anything in this epoch."),
        ("/epochs/1/claimants/nobody", "Contributors are user:NAME or identity:SOURCE:ACCOUNT."),
        ("/contributors/user:nobody", "Nobody of this name has anything in a finalized epoch."),
        ("/contributors/identity:github:x", "Contributors are user:NAME or identity:SOURCE:ACCOUNT."),
        ("/?page=2", "There is no page 2: the last is 1."),
        ("/?scope=other", "There is no such scope: the scopes are default."),
        ("/nowhere", "There is no such page."),
        ("/../../etc/passwd", "There is no such page."),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_not_there_is_said_in_one_sentence(site: str, path: str, why: str) -> None:
    answer = asked(site + path)
    assert answer.status_code == 404
    assert f"<h1>{why}</h1>" in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_page_number_that_is_none_is_refused(site: str) -> None:
    answer = asked(f"{site}/?page=x")
    assert (answer.status_code, "page must be a whole number of at least 1, given once." in answer.text) == (400, True)
