"""Why a policy of ours lets an event count or not: one code each, and one sentence for people.

A code never changes its meaning: decisions that name it are archived.
"""

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """The reason codes of our own policies."""

    INCLUDED = "included"
    LABEL_WEIGHT = "label_weight"
    NO_RULE = "no_rule"

    EXCLUDED_ACCOUNT = "excluded_account"
    OTHER_REPOSITORY = "other_repository"
    OTHER_KIND = "other_kind"
    NOT_INTO_MAIN = "not_into_main"
    INTO_MAIN = "into_main"
    NOT_PROMOTED = "not_promoted"
    PULL_REQUEST_NOT_SELECTED = "pull_request_not_selected"

    OTHER_BRANCH = "other_branch"
    EXCLUDED_LABEL = "excluded_label"
    LABEL_MISSING = "label_missing"
    OWN_PULL_REQUEST = "own_pull_request"
    NOT_MERGED = "not_merged"
    COMMENT_WITHOUT_BODY = "comment_without_body"
    NOT_COMPLETED = "not_completed"
    REPEATED_REVIEW = "repeated_review"
    OVER_EVENTS_PER_DAY = "over_events_per_day"
    OVER_UNITS_PER_EPOCH = "over_units_per_epoch"

    BASE_BRANCH_UNKNOWN = "base_branch_unknown"
    LABELS_UNKNOWN = "labels_unknown"
    PULL_REQUEST_AUTHOR_UNKNOWN = "pull_request_author_unknown"
    MERGE_UNKNOWN = "merge_unknown"
    BODY_UNKNOWN = "body_unknown"
    STATE_REASON_UNKNOWN = "state_reason_unknown"
    COMMITS_UNKNOWN = "commits_unknown"


SENTENCES: Mapping[str, str] = {
    Reason.INCLUDED: "It counts: no rule is against it.",
    Reason.LABEL_WEIGHT: "It counts, with the weight that one of its labels has in the spec.",
    Reason.NO_RULE: "It counts: the policy has no rule for this kind of event.",
    Reason.EXCLUDED_ACCOUNT: "The spec excludes the account that did it.",
    Reason.OTHER_REPOSITORY: "It is of a repository that the spec does not name.",
    Reason.OTHER_KIND: "The policy selects pull requests and their reviews, and this is neither.",
    Reason.NOT_INTO_MAIN: "The pull request was not merged into main.",
    Reason.INTO_MAIN: "The pull request was merged into main itself, and the policy selects what was promoted to it.",
    Reason.NOT_PROMOTED: "No pull request into main of this epoch holds the pull request's merge commit.",
    Reason.PULL_REQUEST_NOT_SELECTED: "The pull request that it reviews is not selected in this epoch.",
    Reason.OTHER_BRANCH: "The pull request goes into a branch that the spec does not pay for.",
    Reason.EXCLUDED_LABEL: "It has a label that the spec excludes.",
    Reason.LABEL_MISSING: "It has none of the labels that the spec asks for.",
    Reason.OWN_PULL_REQUEST: "It is a review of the reviewer's own pull request.",
    Reason.NOT_MERGED: "The pull request that it reviews was not merged when the epoch closed.",
    Reason.COMMENT_WITHOUT_BODY: "It is a review that only comments, and it has no text of its own.",
    Reason.NOT_COMPLETED: "The issue was not closed as completed.",
    Reason.REPEATED_REVIEW: "Another review of the same reviewer counts for this pull request.",
    Reason.OVER_EVENTS_PER_DAY: "The contributor has as many events on that day as the spec pays for.",
    Reason.OVER_UNITS_PER_EPOCH: "With it the contributor would have more units in the epoch than the spec pays for.",
    Reason.BASE_BRANCH_UNKNOWN: "Nobody knows into which branch the pull request goes, or which branch is the default.",
    Reason.LABELS_UNKNOWN: "Nobody knows which labels it has, and the spec has rules for labels.",
    Reason.PULL_REQUEST_AUTHOR_UNKNOWN: "Nobody knows who wrote the pull request that it reviews.",
    Reason.MERGE_UNKNOWN: "Nobody knows whether the pull request that it reviews was merged.",
    Reason.BODY_UNKNOWN: "It is a review that only comments, and nobody knows whether it has a text of its own.",
    Reason.STATE_REASON_UNKNOWN: "Nobody knows whether the issue was closed as completed.",
    Reason.COMMITS_UNKNOWN: "Nobody knows by which commits the pull request could have been promoted to main.",
}


def sentences_of(*reasons: Reason) -> Mapping[str, str]:
    """The sentence of each of `reasons`, by the reason."""
    return {reason: SENTENCES[reason] for reason in reasons}
