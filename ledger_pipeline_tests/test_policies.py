"""Selection policies by name: our own, those that somebody installed, and clear errors for all else."""

from dataclasses import replace
from importlib.metadata import version

import pytest

from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.selection.known import OWN_POLICIES
from ledger_pipeline.core.selection.policy import SelectionSpec, select
from ledger_pipeline.policies import GROUP, installed_policy, policy_of
from ledger_pipeline_tests.core.selecting import merge, review
from ledger_pipeline_tests.distributions import Install

POLICY = """
from ledger_pipeline.core.sources import PR_MERGED
from ledger_pipeline.core.selection.policy import Decision


class Merges:
    name = "acme.merges.v2"
    version = "2"
    default_settings = {}
    reasons = {"merge": "It is a merge.", "no_merge": "It is none."}

    def decide(self, candidates, spec):
        merges = {event.event_id: event.event_type == PR_MERGED for event in candidates}
        return {id_: Decision(is_merge, "merge" if is_merge else "no_merge") for id_, is_merge in merges.items()}


POLICY = Merges()
"""


@pytest.fixture
def install(install_distribution: Install) -> Install:
    """Installs a distribution with one module and entry points of our group."""

    def installed(distribution: str, entry_points: str, module: str = POLICY) -> None:
        install_distribution(distribution, GROUP, entry_points, module)

    return installed


@pytest.mark.parametrize(
    "name",
    ["include-all-v0", "cogni.main-merge-selection.v0", "cogni.promotion-selection.v0", "fair-v1"],
)
def test_our_own_are_known_by_name(name: str) -> None:
    installed = installed_policy(name)
    assert installed.policy is OWN_POLICIES[name]
    assert installed.choice({}, ["Octocat"]).with_ids(("7",)).pinned == {
        "policy": name,
        "version": installed.policy.version,
        "distribution": "ledger-pipeline",
        "distribution_version": version("ledger-pipeline"),
        "settings": dict(installed.policy.default_settings),
        "excluded_logins": ["Octocat"],
        "excluded_ids": ["7"],
    }


def test_one_that_a_dao_installed_is_named_by_its_distribution(install: Install) -> None:
    install("acme_ledger", "acme.merges.v2 = acme_ledger:POLICY")
    installed = installed_policy("acme.merges.v2")
    choice = installed.choice({}, [])
    assert {name: choice.pinned[name] for name in ("policy", "version", "distribution", "distribution_version")} == {
        "policy": "acme.merges.v2",
        "version": "2",
        "distribution": "acme_ledger",
        "distribution_version": "1.4",
    }
    decisions = select(installed.policy, [merge(), review()], SelectionSpec({}))
    assert {event_id: decision.reason for event_id, decision in decisions.items()} == {"p": "merge", "r": "no_merge"}


def test_an_unknown_one_is_one_clear_error(install: Install) -> None:
    install("acme_ledger", "acme.merges.v2 = acme_ledger:POLICY")
    with pytest.raises(SelectionError) as raised:
        installed_policy("fair-v9")
    assert str(raised.value) == (
        "selection policy 'fair-v9' is not installed: there is acme.merges.v2, cogni.main-merge-selection.v0, "
        "cogni.promotion-selection.v0, fair-v1, include-all-v0; one of your own is an entry point of the group "
        "ledger_pipeline.selection_policies"
    )


def test_nothing_that_is_installed_stands_in_for_one_of_our_own(install: Install) -> None:
    install("acme_ledger", "fair-v1 = acme_ledger:POLICY")
    assert installed_policy("fair-v1").policy is OWN_POLICIES["fair-v1"]


def test_one_name_of_two_distributions_is_nobodys(install: Install) -> None:
    install("acme_ledger", "acme.merges.v2 = acme_ledger:POLICY")
    install("other_ledger", "acme.merges.v2 = other_ledger:POLICY")
    with pytest.raises(SelectionError, match="installed by several distributions: acme_ledger, other_ledger"):
        installed_policy("acme.merges.v2")


@pytest.mark.parametrize(
    ("entry_point", "module", "message"),
    [
        ("broken = acme_ledger:POLICY", "raise OSError('no disk')", "cannot be loaded: OSError: no disk"),
        ("broken = acme_ledger:NOTHING", POLICY, "cannot be loaded: AttributeError"),
        ("broken = acme_nowhere:POLICY", POLICY, "cannot be loaded: ModuleNotFoundError"),
        ("broken = acme_ledger:POLICY", POLICY, "calls itself 'acme.merges.v2'"),
        ("broken = acme_ledger:POLICY", "POLICY = 7", "lacks name, version, default_settings, reasons, decide"),
    ],
)
def test_one_that_is_broken_is_an_error_of_its_own(
    install: Install, entry_point: str, module: str, message: str
) -> None:
    install("acme_ledger", entry_point, module)
    with pytest.raises(SelectionError, match=f"'broken' of acme_ledger .*{message}"):
        installed_policy("broken")
    assert installed_policy("fair-v1").policy.name == "fair-v1"


def test_what_was_chosen_is_decided_by_the_very_version_and_distribution(install: Install) -> None:
    install("acme_ledger", "acme.merges.v2 = acme_ledger:POLICY")
    choice = installed_policy("acme.merges.v2").choice({}, [])
    assert policy_of(choice).name == "acme.merges.v2"
    assert policy_of(replace(choice, distribution_version="1.3")).version == "2"
    with pytest.raises(SelectionError, match=r"was version '1' of 'acme_ledger', .* install 'acme_ledger' '1.3'"):
        policy_of(replace(choice, version="1", distribution_version="1.3"))
    with pytest.raises(SelectionError, match="of 'acme_before', and here it is version '2' of 'acme_ledger'"):
        policy_of(replace(choice, distribution="acme_before"))
    with pytest.raises(SelectionError, match=r"'acme\.merges\.v1' is not installed"):
        policy_of(replace(choice, policy="acme.merges.v1"))
