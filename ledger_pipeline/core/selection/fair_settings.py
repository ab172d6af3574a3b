"""The settings of `fair-v1`, each with its default and the reason for it.

| setting | default | why |
|---|---|---|
| `base_branches` | `default` | Work counts once it arrives where releases come from. `any`, or a list of names. |
| `own_reviews` | `false` | Nobody reviews themselves: an answer in one's own pull request is a part of writing it. |
| `reviews_per_pull_request` | `1` | Who answers ten times has not reviewed ten times. `null` is no limit. |
| `reviews_of` | `all` | The review is work also where the merge comes in the next epoch, or never. Else `merged`. |
| `comments_without_body` | `never` | GitHub writes one for each answer to a line. `with_line_comments`, `always`. |
| `state_reasons` | `["COMPLETED"]` | What is not planned or said twice was closed by sorting. `any` is every reason. |
| `include_labels` | `[]` | Only what has one of these counts; none named: everything. |
| `exclude_labels` | `[]` | What has one of these does not count, also where it has one that is included. |
| `label_weights_milli` | `{}` | A label's factor (1000: once). Of several the largest holds, whatever their order. |
| `events_per_day` | `null` | A limit pays for less than was done: what is too much only the project knows. |
| `units_milli_per_epoch` | `null` | The same. |
| `unknown` | see below | What a rule does where the fact that it needs is unknown. |
| `co_authors` | `author` | Whoever opens a pull request speaks for it. `share`: each co-author has an equal part. |
| `not_co_authors` | `[]` | Trailers name tools and bots, too: their ids or e-mails, or the SHA-256 of these. |

A rule that cannot be judged `pay`s or `refuse`s, and either way the decision has a reason code of its own:

| in `unknown` | default | why |
|---|---|---|
| `base_branch` | `pay` | Nearly every merge goes into the default branch: to refuse would leave whole servers unpaid. |
| `pull_request_author` | `refuse` | To review oneself takes nobody else: it would be an easy way to be paid. |
| `merged` | `refuse` | The setting asks for merged ones, and nobody says that it is one. |
| `body` | `pay` | Only reviews that comment are in question, one for each reviewer and pull request at most. |
| `state_reason` | `pay` | An old server tells no reasons at all, and most issues are closed as completed. |
| `labels` | `refuse` | A scope that has label rules means them: until they are known nobody knows what it weighs. |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ledger_pipeline.core.co_authors import author_of_email
from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.facts import CoAuthor
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import quoted

FAIR_V1 = "fair-v1"

DEFAULT = "default"
ANY = "any"
ALL = "all"
MERGED = "merged"
NEVER = "never"
WITH_LINE_COMMENTS = "with_line_comments"
ALWAYS = "always"
AUTHOR = "author"
SHARE = "share"
PAY = "pay"
REFUSE = "refuse"

LARGEST_FACTOR_MILLI = 1_000_000
LARGEST_LIMIT = 2**53 - 1

DEFAULT_UNKNOWN: Mapping[str, Json] = {
    "base_branch": PAY,
    "pull_request_author": REFUSE,
    "merged": REFUSE,
    "body": PAY,
    "state_reason": PAY,
    "labels": REFUSE,
}

DEFAULT_SETTINGS: Mapping[str, Json] = {
    "base_branches": DEFAULT,
    "own_reviews": False,
    "reviews_per_pull_request": 1,
    "reviews_of": ALL,
    "comments_without_body": NEVER,
    "state_reasons": ["COMPLETED"],
    "include_labels": [],
    "exclude_labels": [],
    "label_weights_milli": {},
    "events_per_day": None,
    "units_milli_per_epoch": None,
    "unknown": DEFAULT_UNKNOWN,
}

# They came once epochs had closed with the others, and are pinned only where they say something else.
LATER_SETTINGS: Mapping[str, Json] = {"co_authors": AUTHOR, "not_co_authors": []}

_ID = re.compile(r"[1-9][0-9]{0,18}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FairSettings:
    """The settings, read. Labels are in lower case, as GitHub compares them; None is no limit, or any at all."""

    base_branches: frozenset[str] | None
    wants_default_branch: bool
    own_reviews: bool
    reviews_per_pull_request: int | None
    merged_only: bool
    comments_without_body: str
    state_reasons: frozenset[str] | None
    include_labels: frozenset[str]
    exclude_labels: frozenset[str]
    label_weights_milli: Mapping[str, int]
    events_per_day: int | None
    units_milli_per_epoch: int | None
    refused_unknown: frozenset[str]
    shares_with_co_authors: bool
    not_co_authors: frozenset[CoAuthor]

    @property
    def has_label_rules(self) -> bool:
        """Whether it matters which labels anything has."""
        return bool(self.include_labels or self.exclude_labels or self.label_weights_milli)


def fair_settings(given: Mapping[str, Json]) -> FairSettings:
    """What is `given`, and the defaults for the rest. Raises SelectionError naming the setting that is wrong."""
    settings = {**DEFAULT_SETTINGS, **LATER_SETTINGS, **given}
    branches, reasons = settings["base_branches"], settings["state_reasons"]
    weights = _object("label_weights_milli", settings["label_weights_milli"])
    return FairSettings(
        base_branches=None if branches in (DEFAULT, ANY) else _texts("base_branches", branches, DEFAULT, ANY),
        wants_default_branch=branches == DEFAULT,
        own_reviews=_flag("own_reviews", settings["own_reviews"]),
        reviews_per_pull_request=_limit("reviews_per_pull_request", settings["reviews_per_pull_request"]),
        merged_only=_choice("reviews_of", settings["reviews_of"], ALL, MERGED) == MERGED,
        comments_without_body=_choice(
            "comments_without_body", settings["comments_without_body"], NEVER, WITH_LINE_COMMENTS, ALWAYS
        ),
        state_reasons=None if reasons == ANY else _texts("state_reasons", reasons, ANY),
        include_labels=_labels("include_labels", settings["include_labels"]),
        exclude_labels=_labels("exclude_labels", settings["exclude_labels"]),
        label_weights_milli=_factors(weights),
        events_per_day=_limit("events_per_day", settings["events_per_day"]),
        units_milli_per_epoch=_limit("units_milli_per_epoch", settings["units_milli_per_epoch"]),
        refused_unknown=_refused(_object("unknown", settings["unknown"])),
        shares_with_co_authors=_choice("co_authors", settings["co_authors"], AUTHOR, SHARE) == SHARE,
        not_co_authors=frozenset(map(_co_author, _texts("not_co_authors", settings["not_co_authors"]))),
    )


def _co_author(named: str) -> CoAuthor:
    if _ID.fullmatch(named):
        return CoAuthor(id=named)
    if _SHA256.fullmatch(named):
        return CoAuthor(email_hash=named)
    if "@" not in named:
        problem = f"names accounts by their numeric id, an e-mail or the SHA-256 of one, not {quoted(named)}"
        raise _wrong("not_co_authors", problem)
    return author_of_email(named)


def _refused(given: Mapping[str, Json]) -> frozenset[str]:
    for rule, value in given.items():
        if rule not in DEFAULT_UNKNOWN:
            raise _wrong(f"unknown.{rule}", f"is no rule: there are {', '.join(DEFAULT_UNKNOWN)}")
        _choice(f"unknown.{rule}", value, PAY, REFUSE)
    return frozenset(rule for rule, value in {**DEFAULT_UNKNOWN, **given}.items() if value == REFUSE)


def _factors(weights: Mapping[str, Json]) -> Mapping[str, int]:
    factors: dict[str, int] = {}
    for label, factor in weights.items():
        if not isinstance(factor, int) or isinstance(factor, bool) or not 0 <= factor <= LARGEST_FACTOR_MILLI:
            problem = f"is a whole number from 0 to {LARGEST_FACTOR_MILLI} (1000: once), not {quoted(str(factor))}"
            raise _wrong(f"label_weights_milli.{label}", problem)
        if factors.setdefault(label.lower(), factor) != factor:
            raise _wrong(f"label_weights_milli.{label}", "has two factors, for GitHub knows no difference of case")
    return factors


def _labels(name: str, value: Json) -> frozenset[str]:
    return frozenset(label.lower() for label in _texts(name, value))


def _texts(name: str, value: Json, *words: str) -> frozenset[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) and text for text in value):
        expected = " or ".join([*words, "a list of names"])
        raise _wrong(name, f"is {expected}, not {quoted(str(value))}")
    return frozenset(text for text in value if isinstance(text, str))


def _object(name: str, value: Json) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise _wrong(name, f"is an object, not {quoted(str(value))}")
    return value


def _flag(name: str, value: Json) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, f"is true or false, not {quoted(str(value))}")
    return value


def _choice(name: str, value: Json, *choices: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise _wrong(name, f"is one of {', '.join(choices)}, not {quoted(str(value))}")
    return value


def _limit(name: str, value: Json) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_LIMIT:
        raise _wrong(name, f"is a whole number from 0 to {LARGEST_LIMIT}, or null, not {quoted(str(value))}")
    return value


def _wrong(name: str, problem: str) -> SelectionError:
    return SelectionError(f"setting {name} of selection policy {FAIR_V1} {problem}")
