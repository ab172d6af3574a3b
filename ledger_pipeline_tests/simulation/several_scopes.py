"""Scopes that share an owner's repositories: who claims what, renames, late labels, co-authors, and who is paid for it.

A story of its own with draws of its own. What each scope must decide is computed here a second time, from the world as
it was when an epoch closed, where every repository is known by its id: not by the code under test.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from ledger_pipeline.core.owners import OwnerRules
from ledger_pipeline.core.selection.choice import SelectionChoice
from ledger_pipeline.core.spec import Scope
from ledger_pipeline.core.windows import EpochWindow
from ledger_pipeline.pipeline.allocate import propose
from ledger_pipeline.pipeline.collect import collect
from ledger_pipeline.pipeline.epochs import close_due_epochs
from ledger_pipeline.policies import installed_policy
from ledger_pipeline.repo_spec_claims import ClaimSection
from ledger_pipeline.repo_spec_routing import routed_scopes
from ledger_pipeline.sources.simulator.people import USERS
from ledger_pipeline.sources.simulator.world import (
    Closure,
    Issue,
    PullRequest,
    Repository,
    Review,
    ReviewState,
    StateReason,
    World,
)
from ledger_pipeline.store.postgres import PostgresLedger
from ledger_pipeline.store.records import Epoch
from ledger_pipeline.verification.examined import ExaminedEpoch
from ledger_pipeline.verification.ledger_rows import facts_of
from ledger_pipeline.verification.selection_laws import selection_differences
from ledger_pipeline_tests.builders import scope
from ledger_pipeline_tests.simulation.run import Collector, Sabotage, SimulatedGitHub, Stage
from ledger_pipeline_tests.simulation.worlds import START, History
from ledger_pipeline_tests.sources.github.github_source import github_source
from ledger_pipeline_tests.store.settlement import APPROVERS

OWNER = "cogni-dao"
WEEK = EpochWindow(START, START + timedelta(days=7))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LABELS = ("docs", "bug", "late")
PATHS = ("docs/a.md", "src/a.py", "README.md")
GLOBS = {"docs/**": ("docs/a.md",), "*.md": ("README.md",), "src/*": ("src/a.py",)}
WHOLE_MILLI = 1000
STRENGTH = {"APPROVED": 0, "CHANGES_REQUESTED": 1, "COMMENTED": 2}


@dataclass
class Claimed:
    """A claim as it is written, and the id of the repository that it means."""

    scope_key: str
    repository_id: int
    labels: tuple[str, ...]
    paths: tuple[str, ...]
    order: int
    is_shared: bool

    def written(self, name: str) -> dict[str, object]:
        """As a repo-spec has it."""
        some = {key: value for key, value in (("labels", self.labels), ("paths", self.paths)) if value}
        return {"repository": name, "order": self.order, "shared": self.is_shared, **some}

    def takes(self, item: PullRequest | Issue) -> bool:
        """Whether what is done on the item is claimed."""
        if not self.labels and not self.paths:
            return True
        changed = item.files or () if isinstance(item, PullRequest) else ()
        return bool(set(self.labels) & set(item.labels or ())) or any(
            path in GLOBS[glob] for glob in self.paths for path in changed
        )


@dataclass
class SeveralScopes:
    """All that a seed decides of one such story, and what has been done so far."""

    seed: int
    stage: Stage
    sabotage: Sabotage | None = None
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random = Random(f"several scopes {self.seed}")
        self.last_id = 4_000_000_000
        self.ledger = PostgresLedger(self.stage.engine, UUID(int=10**9 + self.stage.next_scope_id().int))
        self.repositories = [self._repository(number) for number in range(1, random.choice((1, 2, 2, 3)) + 1)]
        keys = ("default", "docs", "core")[: random.choice((2, 3, 3))]
        self.policy = random.choice(("include-all-v0", "fair-v1"))
        # By the seed, so that nothing else is drawn otherwise.
        self.is_sharing = self.policy == "fair-v1" and self.seed % 3 < 2
        names = tuple(repository.name_with_owner for repository in self.repositories)
        self.owner_keys = {key for key in keys if random.random() < 0.6}
        self.claims = [
            Claimed(
                random.choice(keys[1:]),
                random.choice(self.repositories).database_id,
                tuple(random.sample(LABELS, random.choice((0, 1, 1, 2)))),
                tuple(random.sample(list(GLOBS), random.choice((0, 0, 1)))),
                random.choice((1, 2, 100)),
                random.random() < 0.4,
            )
            for _ in range(random.choice((1, 2, 3)))
        ]
        plain = [self._scope(key, names) for key in keys]
        spelled = {repository.database_id: repository.name_with_owner for repository in self.repositories}
        sections = [
            [
                ClaimSection.model_validate(claim.written(spelled[claim.repository_id]))
                for claim in self.claims
                if claim.scope_key == key
            ]
            for key in keys
        ]
        self.scopes = routed_scopes(plain, sections)
        self.github = SimulatedGitHub(self.stage.github, History(plain[0].calendar, WEEK.end, {}, ()), START)

    def run(self) -> None:
        """Polls, with changes between them; the first scopes close, all goes on changing, and then the others do."""
        random = self.random
        changes_at = START + timedelta(hours=random.randint(24, 72))  # after all that is drawn was done
        self.github.simulator.faults.clear()
        for wanted in ([own for own in self.scopes if random.random() < 0.7], list(self.scopes)):
            self._show(changes_at)
            for one_scope in wanted:
                self._collect(one_scope, [WEEK])
            self._change(changes_at)
            changes_at += timedelta(hours=random.randint(1, 20))
        after_grace = WEEK.end + DAY + HOUR
        first = random.sample(self.scopes, random.randint(1, len(self.scopes)))
        self._close(first, after_grace)
        routed_by = {repository.database_id: repository for repository in self.repositories}
        held = self._check(first, routed_by)
        self._change(after_grace + HOUR)
        later = [one_scope for one_scope in self.scopes if one_scope not in first]
        self._close(later, after_grace + DAY)
        held |= self._check(later, routed_by)
        self._check_sums(held)

    def _scope(self, key: str, names: tuple[str, ...]) -> Scope:
        plain = scope(
            *names,
            scope_key=key,
            scope_id=self.stage.next_scope_id(),
            approvers=APPROVERS,
            first_epoch=START.date().isoformat(),
        )
        selection: SelectionChoice | None = None
        if self.policy != "include-all-v0":
            settings = {"co_authors": "share"} if self.is_sharing else {}
            selection = installed_policy(self.policy).choice(settings, ())
        spec = plain.sources[0]
        if key in self.owner_keys:
            spec = replace(spec, source_scopes=(), owners=OwnerRules((f"{OWNER}/*",)))
        return replace(plain, sources=(spec,), selection=selection)

    # The world.

    def _id(self) -> int:
        self.last_id += self.random.randint(1, 9)
        return self.last_id

    def _repository(self, number: int) -> Repository:
        items = [self._item(n) for n in range(1, self.random.choice((2, 4, 6)) + 1)]
        return Repository(
            f"{OWNER}/part-{number}",
            number,
            tuple(item for item in items if isinstance(item, PullRequest)),
            tuple(item for item in items if isinstance(item, Issue)),
        )

    def _item(self, number: int) -> PullRequest | Issue:
        random = self.random
        created_at = START + timedelta(minutes=random.randint(0, 600))
        ended_at = created_at + timedelta(minutes=random.randint(1, 600))
        author, labels = random.choice(USERS[:4]), tuple(random.sample(LABELS, random.choice((0, 1, 1))))
        if random.random() < 0.3:
            reason = random.choice((StateReason.COMPLETED, StateReason.NOT_PLANNED))
            closures = (Closure(ended_at, reason, closed_by=author),)
            return Issue(number, self._id(), f"Problem {number}", author, created_at, closures, labels=labels)
        helpers = random.sample(USERS[4:], random.choice((0, 1, 2)))
        trailers = "".join(
            f"\nCo-authored-by: {user.login} <{user.database_id}+{user.login}@users.noreply.github.com>"
            for user in helpers
        )
        return PullRequest(
            number,
            self._id(),
            f"Change {number}",
            author,
            created_at,
            closed_at=ended_at,
            merged_at=ended_at,
            merged_by=author,
            labels=labels,
            files=tuple(random.sample(PATHS, random.choice((0, 1, 2)))),
            merge_commit=f"{self._id():040x}",
            merge_message=f"Change {number}\n\nWhy it is.\n{trailers}",
            base_ref_name=random.choice(("main", "main", "next")),
            reviews=tuple(
                Review(
                    self._id(),
                    random.choice(USERS[:4]),
                    ended_at + timedelta(minutes=place),
                    random.choice((ReviewState.APPROVED, ReviewState.CHANGES_REQUESTED)),
                    body="Fine.",
                )
                for place in range(random.choice((0, 1, 2)))
            ),
        )

    def _change(self, at: datetime) -> None:
        """Labels and base branches are edited, a repository is renamed, and another is made."""
        random = self.random
        self.repositories = [
            replace(
                repository,
                pull_requests=tuple(
                    replace(
                        item,
                        labels=tuple({*(item.labels or ()), random.choice(LABELS)}),
                        base_ref_name=random.choice(("main", "next")),
                        touched_at=(*item.touched_at, at),
                    )
                    if random.random() < 0.3
                    else item
                    for item in repository.pull_requests
                ),
            )
            for repository in self.repositories
        ]
        if random.random() < 0.7:
            place = random.randrange(len(self.repositories))
            renamed = self.repositories[place]
            name = f"{OWNER}/called-{self._id()}"
            self.done.append(f"{at:%m-%d %H:%M} {renamed.name_with_owner} is {name} now")
            former_names = (*renamed.former_names, renamed.name_with_owner)
            self.repositories[place] = replace(renamed, name_with_owner=name, former_names=former_names)
        if random.random() < 0.3 and at < WEEK.end:
            number = len(self.repositories) + 1
            self.done.append(f"{at:%m-%d %H:%M} part-{number} is made")
            self.repositories.append(self._repository(number))

    def _show(self, at: datetime) -> None:
        self.github.simulator.replace_world(World(tuple(self.repositories)))
        self.github.now = at
        self.github.simulator.set_clock(at)

    # The ledger.

    def _collect(self, of: Scope, windows: list[EpochWindow]) -> None:
        self.done.append(f"{self.github.now:%m-%d %H:%M} collect {of.scope_key}")
        with github_source(self.github.simulator.url, 50) as source:
            parts = Collector(source, self.ledger, of.scope_id, WEEK, self.github, self.stage.engine)
            collector = self.sabotage(parts) if self.sabotage is not None else parts
            report = collect(collector.source, collector.store, of, windows, concurrency=1)
        assert not report.failures, f"failed with nothing wrong: {report.failures}"

    def _close(self, scopes: list[Scope], at: datetime) -> None:
        """All that is to close is read at one moment, and closes by it."""
        self._show(at)
        for of in scopes:
            self._collect(of, [WEEK])
            self._collect(of, [EpochWindow(WEEK.end, WEEK.end + timedelta(days=7))])
        for of in scopes:
            self.done.append(f"{at:%m-%d %H:%M} close {of.scope_key}")
            assert len(close_due_epochs(self.ledger, of)) == 1

    # What must be decided.

    def _check(self, scopes: list[Scope], routed_by: dict[int, Repository]) -> dict[tuple[str, str], int]:
        """Decisions of scopes that closed by the world as it is now; what each has of each object, by its id."""
        held: dict[tuple[str, str], int] = {}
        for of in scopes:
            [epoch] = self.ledger.epochs.within(of.scope_id, WEEK)
            wanted = self._wanted(of, routed_by)
            self._check_units(of, epoch, wanted)
            archived = facts_of(self.ledger.statements.rows(epoch))
            differences = list(selection_differences(ExaminedEpoch(archived)))
            assert not differences, f"what {of.scope_key} closed with does not prove its decisions: {differences}"
            decisions = {row.event_id: row.decision for row in archived.selection}
            objects = {row.id: f"{row.event_type} {row.source_object_id}" for row in archived.events}
            assert set(objects.values()) == wanted.keys(), f"{of.scope_key} holds {objects}, not {list(wanted)}"
            self._check_co_authors(of, {objects[row.event_id]: dict(row.facts) for row in archived.facts})
            for event_id, name in objects.items():
                decision, (share, counts) = decisions.get(event_id), wanted[name]
                factor = WHOLE_MILLI
                if decision is not None and decision.weight_factor_milli is not None:
                    factor = decision.weight_factor_milli
                has = 0 if decision is not None and not decision.included else factor
                expected = share if counts else 0
                assert has == expected, f"{of.scope_key} has {has} of {event_id}, not {expected}: {decision}"
                held[of.scope_key, name] = share
        return held

    def _check_sums(self, held: dict[tuple[str, str], int]) -> None:
        sums: defaultdict[str, int] = defaultdict(int)
        for (_, name), share in held.items():
            sums[name] += share
        claimed = {claim.repository_id for claim in self.claims}
        for repository in self.repositories:
            if repository.database_id in claimed:
                wrong = {name: sums[name] for name, _ in _events(repository) if sums[name] not in (0, WHOLE_MILLI)}
                assert not wrong, f"parts are not the whole: {wrong}"

    def _check_units(self, of: Scope, epoch: Epoch, wanted: dict[str, tuple[int, bool]]) -> None:
        """Each claimant's units are their parts of what counts, by the world; nobody linked any account."""
        units: defaultdict[str, int] = defaultdict(int)
        for repository in self.repositories:
            for name, (item, reviewed) in _events(repository):
                share, counts = wanted.get(name, (0, False))
                if not counts:
                    continue
                doer = item.author if reviewed is None else reviewed.author
                assert doer is not None
                keys = {f"identity:github:{doer.database_id}"}
                if self.is_sharing and isinstance(item, PullRequest) and reviewed is None:
                    keys |= {f"identity:github:{user_id}" for user_id in _co_author_ids(item)}
                weight_milli = of.weights_milli[f"github:{name.partition(' ')[0]}"] * share // WHOLE_MILLI
                for place, key in enumerate(sorted(keys)):
                    units[key] += weight_milli // len(keys) + (place < weight_milli % len(keys))
        proposed = {row.user_id: row.proposed_units for row in propose(self.ledger, of, epoch)}
        assert proposed == units, f"{of.scope_key} shares out {proposed}, not {dict(units)}"

    def _check_co_authors(self, of: Scope, facts: dict[str, dict[str, object]]) -> None:
        for repository in self.repositories:
            for item in repository.pull_requests:
                stated = facts.get(f"pr_merged {item.database_id}")
                if stated is not None:
                    wanted = [{"id": user_id} for user_id in _co_author_ids(item)]
                    assert stated.get("coAuthors") == wanted, f"{of.scope_key}: {stated} has not {wanted}"

    def _wanted(self, of: Scope, routed_by: dict[int, Repository]) -> dict[str, tuple[int, bool]]:
        """Of each object that the scope collects: what it has of it, and whether the policy lets it count."""
        collected = [
            repository
            for repository in self.repositories
            if of.scope_key in self.owner_keys or repository.database_id in self._named
        ]
        wanted: dict[str, tuple[int, bool]] = {}
        for repository in collected:
            items_then = {
                item.database_id: item
                for item in (*routed_by[repository.database_id].pull_requests, *repository.issues)
            }
            fates = {name: _Fate(item, review) for name, (item, review) in _events(repository)}
            shares = {
                name: self._share(of, repository.database_id, items_then[fate.item.database_id])
                for name, fate in fates.items()
            }
            counting = {name: fate for name, fate in fates.items() if shares[name]}
            counted = set(counting) if self.policy == "include-all-v0" else _fair(counting)
            wanted |= {name: (share, name in counted) for name, share in shares.items()}
        return wanted

    @property
    def _named(self) -> set[int]:
        return {int(name.rpartition("-")[2]) for of in self.scopes for name in of.sources[0].source_scopes}

    def _share(self, of: Scope, repository_id: int, item: PullRequest | Issue) -> int:
        claims = [claim for claim in self.claims if claim.repository_id == repository_id]
        if not claims:
            return WHOLE_MILLI
        taking = sorted(
            (claim for claim in claims if claim.takes(item)), key=lambda own: (own.order, own.scope_key, own.is_shared)
        )
        if not taking:
            keys = [own.scope_key for own in self.scopes]
            rest = [key for key in keys if key not in {claim.scope_key for claim in claims}]
            return WHOLE_MILLI if rest[:1] == [of.scope_key] else 0
        if not taking[0].is_shared:
            return WHOLE_MILLI if taking[0].scope_key == of.scope_key else 0
        sharing = {claim.scope_key for claim in taking if claim.is_shared}
        return WHOLE_MILLI // len(sharing) if of.scope_key in sharing else 0  # two at most, so that nothing is left


@dataclass(frozen=True)
class _Fate:
    item: PullRequest | Issue
    review: Review | None


def _events(repository: Repository) -> list[tuple[str, tuple[PullRequest | Issue, Review | None]]]:
    """What is done in it, by the event's type and the object's id."""
    events: list[tuple[str, tuple[PullRequest | Issue, Review | None]]] = []
    for pull_request in repository.pull_requests:
        events.append((f"pr_merged {pull_request.database_id}", (pull_request, None)))
        events += [
            (f"review_submitted {review.database_id}", (pull_request, review)) for review in pull_request.reviews
        ]
    events += [(f"issue_closed {issue.database_id}", (issue, None)) for issue in repository.issues]
    return events


def _co_author_ids(item: PullRequest) -> list[str]:
    lines = (item.merge_message or "").split("\n")
    return sorted(line.partition("<")[2].partition("+")[0] for line in lines if "<" in line)


def _fair(fates: dict[str, _Fate]) -> set[str]:
    """What counts by fair-v1 with its defaults: a merge into main; one review of a person; what was completed."""
    counting: set[str] = set()
    reviews: defaultdict[tuple[int, int], list[tuple[int, datetime, str]]] = defaultdict(list)
    for name, fate in fates.items():
        item, review = fate.item, fate.review
        if isinstance(item, Issue):
            counting |= {name} if item.closures[-1].reason is StateReason.COMPLETED else set()
        elif item.base_ref_name != "main":
            continue
        elif review is None:
            counting.add(name)
        elif review.author != item.author and review.author is not None and review.submitted_at is not None:
            rank = (STRENGTH[str(review.state)], review.submitted_at, name)
            reviews[review.author.database_id, item.number].append(rank)
    return counting | {min(of_one)[2] for of_one in reviews.values()}


def simulate_scopes(seed: int, stage: Stage, sabotage: Sabotage | None = None) -> None:
    """Raises AssertionError naming the seed, how to replay it, and what was done until it broke."""
    story = SeveralScopes(seed, stage, sabotage)
    try:
        story.run()
    except Exception as problem:
        lines = "\n".join(f"  {number}. {line}" for number, line in enumerate(story.done, 1))
        replay = f"python -m ledger_pipeline_tests.simulation --seed {seed}"
        raise AssertionError(f"seed {seed}, several scopes: {problem}\nreplay: {replay}\n{lines}") from problem
