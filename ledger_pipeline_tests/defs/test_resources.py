"""Who launches a run does not decide whose ledger it writes, what it reads, or who may sign."""

import pytest

from ledger_pipeline_tests.defs.deployment import Deployment
from ledger_pipeline_tests.defs.user_interface import user_interface

# Dagster's own code, describing a schedule.
pytestmark = pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition.environment_vars`:DeprecationWarning")

EPOCH = "2026-02-16|default"
OTHER_SPEC = {"overrides": {"ledger_repo_spec": "/tmp/other.yaml"}}
CONFIGS = {
    "settings": OTHER_SPEC,
    "ledger": {"settings": OTHER_SPEC},
    "sources": {"settings": OTHER_SPEC},
    "clock": {"now": "2026-02-16"},
}


def test_a_launch_that_configures_a_resource_is_refused(deployment: Deployment) -> None:
    with user_interface(deployment) as ui:
        for job in ("collect_epoch", "backfill", "allocate_epoch", "state_payouts", "check_counts"):
            for resource, config in CONFIGS.items():
                answer, errors = ui.launch(job, EPOCH, {"resources": {resource: {"config": config}}})
                assert answer == "RunConfigValidationInvalid", (job, resource)
                # A resource that the job has no use for is not in its configuration at all.
                assert ["unexpected config entr" in error for error in errors] == [True], (job, resource)
    assert deployment.instance.get_runs() == []
