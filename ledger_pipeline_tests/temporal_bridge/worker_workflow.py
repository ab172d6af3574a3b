"""The smallest workflow that has a worker run an activity; alone here, for Temporal's sandbox imports its module."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy


@workflow.defn
class OneActivityWorkflow:
    """Runs the activity it is told to, once, and returns what that returned."""

    @workflow.run
    async def run(self, name: str, argument: str) -> str:
        result: str = await workflow.execute_activity(
            name,
            argument,
            start_to_close_timeout=timedelta(minutes=5),
            retry_policy=RetryPolicy(maximum_attempts=1),
            result_type=str,
        )
        return result
