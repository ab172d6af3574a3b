"""What Temporal keeps of an exception shows no secret, be it an error of ours or a bug's."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultPayloadConverter

from ledger_pipeline.core.known_secrets import WITHHELD, keep_secret
from ledger_pipeline.temporal_bridge.connection import FailuresWithoutSecrets

SECRET = "ghp-marked-for-temporal"


def test_a_bug_that_quotes_a_secret_leaves_none_in_the_history_nor_do_its_causes() -> None:
    keep_secret(SECRET)
    bug, kept = RuntimeError(f"no answer to {SECRET}"), Failure()
    bug.__cause__ = ValueError(f"the server said {SECRET}")
    FailuresWithoutSecrets().to_failure(bug, DefaultPayloadConverter(), kept)
    assert SECRET not in str(kept)
    assert kept.message == f"no answer to {WITHHELD}"
    assert kept.cause.message == f"the server said {WITHHELD}"
