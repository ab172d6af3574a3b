"""Selection policies by name: our own, and those that a DAO installs beside them as entry points.

A DAO's own policy is an object with what `SelectionPolicy` asks for, named in the metadata of its distribution:

    [project.entry-points."ledger_pipeline.selection_policies"]
    "acme.weighted.v2" = "acme_ledger.selection:POLICY"

Only the policy that a spec names is loaded: what else is installed, and may be broken, is left alone. The names of our
own are taken, and nothing that is installed stands in for one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from ledger_pipeline.core.errors import SelectionError
from ledger_pipeline.core.hashing import Json
from ledger_pipeline.core.plain_text import quoted, short_message
from ledger_pipeline.core.selection.choice import SelectionChoice, completed_settings
from ledger_pipeline.core.selection.known import OWN_POLICIES
from ledger_pipeline.core.selection.policy import SelectionPolicy
from ledger_pipeline.plugins import installed_names, installed_plugin

GROUP = "ledger_pipeline.selection_policies"

_OWN_DISTRIBUTION = "ledger-pipeline"
_MEMBERS = ("name", "version", "default_settings", "reasons", "decide")


@dataclass(frozen=True)
class InstalledPolicy:
    """A policy, and the distribution that it is installed with."""

    policy: SelectionPolicy
    distribution: str
    distribution_version: str

    def choice(self, settings: Mapping[str, Json], excluded_logins: Sequence[str]) -> SelectionChoice:
        """What a spec names by it. Raises SelectionError for a setting that is wrong."""
        return SelectionChoice(
            policy=self.policy.name,
            version=self.policy.version,
            distribution=self.distribution,
            distribution_version=self.distribution_version,
            settings=completed_settings(self.policy, settings),
            excluded_logins=tuple(excluded_logins),
        )


def installed_policy(name: str) -> InstalledPolicy:
    """The policy of that name. Raises SelectionError where there is none, several, or one that cannot be loaded."""
    if name in OWN_POLICIES:
        return InstalledPolicy(OWN_POLICIES[name], _OWN_DISTRIBUTION, version(_OWN_DISTRIBUTION))
    plugin = installed_plugin(GROUP, name, "selection policy", _MEMBERS, SelectionError)
    if plugin is None:
        policy_names = sorted({*OWN_POLICIES, *installed_names(GROUP)})
        raise SelectionError(
            f"selection policy {quoted(name)} is not installed: there is {short_message(', '.join(policy_names))}; "
            f"one of your own is an entry point of the group {GROUP}"
        )
    return InstalledPolicy(plugin.member, plugin.distribution, plugin.distribution_version)


def policy_of(choice: SelectionChoice) -> SelectionPolicy:
    """The very policy that was chosen. Raises SelectionError where another version or distribution is installed."""
    installed = installed_policy(choice.policy)
    stated = (choice.version, choice.distribution)
    if stated != (installed.policy.version, installed.distribution):
        raise SelectionError(
            f"selection policy {quoted(choice.policy)} was version {quoted(choice.version)} of "
            f"{quoted(choice.distribution)}, and here it is version {quoted(installed.policy.version)} of "
            f"{quoted(installed.distribution)}: install {quoted(choice.distribution)} "
            f"{quoted(choice.distribution_version)}"
        )
    return installed.policy
