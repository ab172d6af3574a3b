"""The layout is the architecture: what each module may import, and the one place for each thing that has one.

`violations` checks a folder laid out like the package; one test runs it over ours, the others over made-up trees.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import ledger_pipeline

PACKAGE = "ledger_pipeline"
LONGEST_MODULE_LINES = 300
SOURCE = Path(ledger_pipeline.__file__).parent

# A module imports only from the lines above its own, and from its own part.
LAYERS = (
    {"core"},
    {"plugins"},
    {"policies", "installed_sources"},
    {"dagster_contract"},
    {"logs"},
    {"repo_spec_owners", "repo_spec_claims", "shallow_yaml"},
    {"repo_spec_sources"},
    {"repo_spec_shape", "repo_spec_problems"},
    {"repo_spec_routing", "repo_spec_dialect"},
    {"repo_spec"},
    {"settings_variables"},
    {"settings_credentials"},
    {"settings"},
    {"sources", "store"},
    {"wallets", "bindings_file"},
    {"pipeline"},
    {"verification"},
    {"charts"},
    {"epoch_page"},
    {"defs"},
    {"definitions"},
    {"temporal_bridge"},
    {"web"},
    {"doctor"},
    {"local"},
    {"cli"},
)
RANK = {name: rank for rank, parts in enumerate(LAYERS) for name in parts}
RECORDS = (
    "store.distribution_records",
    "store.link_records",
    "store.published_records",
    "store.records",
    "store.scan_records",
    "store.settlement_records",
    "store.statement_records",
)
# Pipeline imports the ledger's type for the type checker alone: it brings SQLAlchemy, and pipeline runs without.
LEDGER = (*RECORDS, "store.postgres.PostgresLedger")
NARROWER = {
    "charts": ("core", *RECORDS, "pipeline"),
    "epoch_page": ("core", *LEDGER, "pipeline", "charts", "epoch_page"),
    "pipeline": (
        "core",
        "policies",
        "dagster_contract",
        "wallets",
        "pipeline",
        "sources.port",
        "sources.stopping",
        *LEDGER,
    ),
    "verification": ("core", "policies", "wallets", "store.statement_records", "verification"),
    "bindings_file": ("core", "shallow_yaml", "store.settlement_records"),
    "wallets": ("core",),
    "temporal_bridge": (
        *(
            "core",
            "dagster_contract",
            "logs",
            "repo_spec",
            "settings",
            "sources",
            "store",
            "pipeline",
            "temporal_bridge",
        ),
        "verification",  # the root of what a statement follows from, which an approver signs
    ),
}

CORE_LIBRARIES = {
    "abc",
    "base64",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "html",
    "itertools",
    "json",
    "math",
    "re",
    "threading",  # the lock around the secrets that a process has been told
    "typing",
    "unicodedata",
    "urllib",
    "uuid",
}
NOT_IN_CORE = {"now", "today", "utcnow", "uuid1", "uuid4"}  # the clock and the dice of modules that are allowed

# Who alone may import a library, by module or part. `dagster` covers dagster_postgres and its like.
OWNERS = {
    "yaml": {"repo_spec", "bindings_file", "shallow_yaml"},
    # Its API's client library; the bridge never imports Dagster itself.
    "dagster_graphql": {"temporal_bridge.collection.dagster_client"},
    "dagster": {"defs", "definitions", "web", "local", "cli"},
    "dagster_webserver": {"web"},
    "matplotlib": {"charts"},
    "PIL": {"charts"},
    "jinja2": {"epoch_page", "web"},
    "temporalio": {"temporal_bridge"},
    # What people see goes through one module, which lets nothing from outside be markup.
    "rich": {"cli.output", "cli.scan_progress"},
    # Only read: a spreadsheet that opens a CSV file takes some values for formulas.
    "csv": {"bindings_file"},
}
# Who alone may import what Dagster does not export; which public way is missing stands at the import.
DAGSTERS_INSIDE = {
    "defs.dagster_storage",
    "defs.event_batches",
    "defs.materializations",
    "defs.partition_checks",
    "defs.partitions",
    "defs.run_launcher",
    "local.collection_run",
    "web.dagster_ui",
}
# A local is named for what it holds; these say nothing of it.
PLACEHOLDERS = {"each", "found", "told", "known", "part", "said", "met", "stood", "one", "other", "another"}
ENVIRONMENT = {"environ", "environb", "getenv", "putenv", "BaseSettings", "EnvVar"}
ENVIRONMENT_OWNERS = {"settings_variables", "local.environment"}  # the second writes it, for child processes


def violations(folder: Path) -> list[str]:
    """What in the modules under `folder` breaks the rules, each as `file: what`."""
    return [
        f"{file.relative_to(folder)}: {problem}"
        for file in sorted(folder.rglob("*.py"))
        for problem in _problems(file, _module(file.relative_to(folder)))
    ]


def _problems(file: Path, module: str) -> Iterator[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if file.name == "__init__.py" and not _is_docstring_alone(tree):
        yield "holds more than a docstring"
    if "utils" in module.split("."):
        yield "is called utils: name the idea"
    if not module:
        return
    package_part = module.split(".")[0]
    if package_part not in RANK:
        yield f"{package_part} has no place among the layers"
        return
    names = set(_used_names(tree))
    for imported in sorted(set(_imports(tree))):
        yield from _import_problems(module, package_part, imported)
    if package_part == "core":
        yield from (f"{name} in core" for name in sorted(names & NOT_IN_CORE))
    if module not in ENVIRONMENT_OWNERS:
        yield from (f"{name}: the environment is read in settings_variables" for name in sorted(names & ENVIRONMENT))
    yield from (f"a local is called {name}: name what it holds" for name in sorted(_locals(tree) & PLACEHOLDERS))
    if package_part == "defs" and "__future__.annotations" in _imports(tree):
        yield "`from __future__ import annotations` breaks Dagster's annotated context"


def _import_problems(module: str, package_part: str, imported: str) -> Iterator[str]:
    library, _, inner = imported.partition(".")
    if library == "":
        yield "a relative import"
    elif library == PACKAGE:
        target = inner.split(".")[0]
        if target not in RANK:
            yield f"imports {imported}, which has no place among the layers"
        elif target != package_part and RANK[target] >= RANK[package_part]:
            yield f"imports {imported}, which is not above it"
        elif package_part in NARROWER and not any(_is_inside(inner, allowed) for allowed in NARROWER[package_part]):
            yield f"imports {imported}: {package_part} may only use {', '.join(NARROWER[package_part])}"
    elif package_part == "core" and library not in CORE_LIBRARIES:
        yield f"imports {imported}: core has {', '.join(sorted(CORE_LIBRARIES))}"
    owned = [name for name in OWNERS if library == name or library.startswith(f"{name}_")]
    owners = OWNERS[max(owned, key=len)] if owned else {module}
    if not owners & {module, package_part}:
        yield f"imports {imported}: only {', '.join(sorted(owners))} may"
    if library == "dagster" and inner.startswith("_") and module not in DAGSTERS_INSIDE:
        yield f"imports {imported}, which Dagster does not export"


def _module(file: Path) -> str:
    """`store/records.py` -> `store.records`; the package's own `__init__.py` is the empty string."""
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names of all that is imported, wherever in the file; `.` before what is relative."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def _used_names(tree: ast.Module) -> Iterator[str]:
    """Attributes and imported names; a parameter that happens to be called `now` is neither."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def _locals(tree: ast.Module) -> set[str]:
    """Names of what is assigned or passed, but neither of fields nor of the operand that an operator is given."""
    of_fields = {
        statement.target
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    }
    of_operators = {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("__")
        for argument in node.args.args
    }
    assigned = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node not in of_fields
    }
    return assigned | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg) and node not in of_operators}


def _is_inside(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(f"{allowed}.")


def _is_docstring_alone(tree: ast.Module) -> bool:
    return len(tree.body) == 1 and ast.get_docstring(tree) is not None


def test_the_package_keeps_its_rules() -> None:
    assert len(list(SOURCE.rglob("*.py"))) > 50
    assert violations(SOURCE) == []


def test_a_module_is_read_in_one_sitting() -> None:
    files = {str(file.relative_to(SOURCE)): file for file in SOURCE.rglob("*.py")}
    lines = {name: len(file.read_text("utf-8").splitlines()) for name, file in files.items()}
    assert {name: count for name, count in lines.items() if count > LONGEST_MODULE_LINES} == {}


def test_every_test_module_says_which_promise_it_holds() -> None:
    modules = {file: ast.parse(file.read_text("utf-8")) for file in sorted(Path(__file__).parent.rglob("test_*.py"))}
    assert len(modules) > 50
    assert [file.name for file, module in modules.items() if not ast.get_docstring(module)] == []


def test_no_local_of_the_tests_is_a_placeholder() -> None:
    files = sorted(Path(__file__).parent.rglob("*.py"))
    assert len(files) > 200
    placeholders = {file.name: _locals(ast.parse(file.read_text("utf-8"))) & PLACEHOLDERS for file in files}
    assert {name: names for name, names in placeholders.items() if names} == {}


def test_every_part_of_the_package_has_its_place() -> None:
    parts = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts - {"__init__"} == set(RANK)


# The checker finds what it should, and nothing else.


def tree(folder: Path, file: str, text: str) -> Path:
    """A made-up package that keeps every rule, but for `file` perhaps."""
    good = {
        "__init__.py": '"""A package."""\n',
        "core/__init__.py": '"""The rules."""\n',
        "core/windows.py": "from datetime import datetime\n\ndef at(now: datetime) -> datetime:\n    return now\n",
        "repo_spec.py": "import yaml\nfrom ledger_pipeline.core import windows\n",
        "settings_variables.py": "import os\nHOME = os.environ\n",
        "store/records.py": "from ledger_pipeline.core.windows import at\n",
        "pipeline/collect.py": "from ledger_pipeline.store import records\nfrom ledger_pipeline.sources import port\n",
        "defs/assets.py": "import dagster as dg\nfrom ledger_pipeline.defs import step_failures\n",
        "temporal_bridge/worker.py": "import temporalio.client\n",
        "local/environment.py": "import os\nos.environ.clear()\n",
    }
    for name, content in {**good, file: text}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_a_tree_that_keeps_the_rules_has_no_violation(tmp_path: Path) -> None:
    assert violations(tree(tmp_path, "cli/app.py", "import sys\nfrom ledger_pipeline import settings\n")) == []


def test_a_field_and_the_operand_of_an_operator_are_no_locals(tmp_path: Path) -> None:
    text = "class Change:\n    found: str\n\n    def __eq__(self, other: object) -> bool:\n        return True\n"
    assert violations(tree(tmp_path, "cli/change.py", text)) == []


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("core/x.py", "import time", "imports time: core has abc, base64"),
        ("core/x.py", "import os.path", "imports os.path"),
        ("core/x.py", "from random import choice", "imports random.choice"),
        ("core/x.py", "import pydantic", "imports pydantic"),
        ("core/x.py", "def f():\n    import asyncio", "imports asyncio"),
        ("core/x.py", "from datetime import datetime\nx = datetime.now()", "now in core"),
        ("core/x.py", "from datetime import datetime\nx = datetime.utcnow", "utcnow in core"),
        ("core/x.py", "import datetime as dt\nx = dt.date.today()", "today in core"),
        ("core/x.py", "from uuid import uuid4", "uuid4 in core"),
        ("core/x.py", "from ledger_pipeline.repo_spec import load", "which is not above it"),
        ("core/x.py", "from . import windows", "a relative import"),
        ("core/x.py", "from ..settings import Settings", "a relative import"),
        ("repo_spec_shape.py", "import ledger_pipeline.repo_spec", "which is not above it"),
        ("repo_spec_shape.py", "import yaml", "only bindings_file, repo_spec, shallow_yaml may"),
        ("repo_spec.py", "from ledger_pipeline import settings", "which is not above it"),
        ("settings.py", "from ledger_pipeline.store.records import X", "which is not above it"),
        ("sources/github/x.py", "from ledger_pipeline.store.records import X", "which is not above it"),
        ("sources/x.py", "import os\nx = os.getenv('X')", "getenv: the environment is read in settings_variables"),
        ("store/x.py", "from ledger_pipeline.sources import port", "which is not above it"),
        ("store/x.py", "from ledger_pipeline.pipeline import collect", "which is not above it"),
        ("store/x.py", "from os import environ", "environ: the environment is read in settings_variables"),
        ("store/x.py", "from yaml import safe_load", "only bindings_file, repo_spec, shallow_yaml may"),
        ("pipeline/x.py", "from ledger_pipeline.settings import X", "pipeline may only use core"),
        ("pipeline/x.py", "from ledger_pipeline.store import postgres", "pipeline may only use core"),
        ("pipeline/x.py", "from ledger_pipeline.store.postgres import open_ledger", "pipeline may only use core"),
        ("pipeline/x.py", "from ledger_pipeline.sources.github.client import X", "pipeline may only use core"),
        ("pipeline/x.py", "from ledger_pipeline.sources.ports import X", "pipeline may only use core"),
        ("pipeline/x.py", "from ledger_pipeline.defs import jobs", "which is not above it"),
        ("pipeline/x.py", "if True:\n    import dagster", "only cli, definitions, defs, local, web may"),
        ("defs/x.py", "from ledger_pipeline.definitions import X", "which is not above it"),
        ("defs/x.py", "from __future__ import annotations", "breaks Dagster's annotated context"),
        (
            "defs/x.py",
            "import dagster as dg\nx = dg.EnvVar('X')",
            "EnvVar: the environment is read in settings_variables",
        ),
        ("defs/x.py", "import temporalio", "only temporal_bridge may"),
        ("definitions.py", "from ledger_pipeline.local import demo", "which is not above it"),
        ("temporal_bridge/x.py", "from ledger_pipeline.defs import jobs", "temporal_bridge may only use"),
        ("temporal_bridge/x.py", "from ledger_pipeline import definitions", "temporal_bridge may only use"),
        ("temporal_bridge/x.py", "import dagster_graphql", "only temporal_bridge.collection.dagster_client may"),
        ("local/x.py", "from ledger_pipeline.cli import app", "which is not above it"),
        ("local/x.py", "from temporalio.client import Client", "only temporal_bridge may"),
        ("local/x.py", "import os\nx = os.environ['X']", "environ: the environment is read in settings_variables"),
        (
            "cli/x.py",
            "from dagster._core.errors import X",
            "imports dagster._core.errors.X, which Dagster does not export",
        ),
        ("cli/x.py", "for each in ():\n    pass", "a local is called each: name what it holds"),
        ("cli/x.py", "x = [part for part in ()]", "a local is called part"),
        ("cli/x.py", "def f() -> None:\n    found = 1", "a local is called found"),
        ("cli/x.py", "def f(known: int) -> None: ...", "a local is called known"),
        ("cli/x.py", "if (told := 1):\n    pass", "a local is called told"),
        ("cli/x.py", "from ledger_pipeline.helpers import X", "has no place among the layers"),
        ("helpers.py", "", "helpers has no place among the layers"),
        ("cli/utils.py", "", "is called utils"),
        ("core/utils/x.py", "", "is called utils"),
        ("__init__.py", '"""A package."""\nVERSION = 1', "holds more than a docstring"),
        ("core/__init__.py", "from ledger_pipeline.core.windows import at", "holds more than a docstring"),
        ("store/__init__.py", "", "holds more than a docstring"),
    ],
)
def test_a_violation_is_reported_naming_the_file(tmp_path: Path, file: str, text: str, problem: str) -> None:
    problems = violations(tree(tmp_path, file, text))
    assert len(problems) == 1
    assert problems[0].startswith(f"{file}: ")
    assert problem in problems[0]


# The test of the design: the rules and the steps run in a plain Python.

IMPORT_WITHOUT_LIBRARIES = """
import importlib, sys

allowed = {"ledger_pipeline", *sys.argv[1].split(",")}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        library = name.partition(".")[0]
        is_known = library in sys.stdlib_module_names or library in allowed
        if not is_known and not library.startswith("_sysconfigdata"):  # Python's own, made with it
            raise ImportError(f"{name} is not of the standard library")

for library in [name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names]:
    if library != "__main__":
        del sys.modules[library]
sys.meta_path.insert(0, Refuse())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def import_without_libraries(modules: Iterable[str], allowed: Iterable[str] = ()) -> subprocess.CompletedProcess[str]:
    """Import `modules` in a fresh interpreter that has the standard library, this package and those `allowed` alone."""
    return subprocess.run(
        [sys.executable, "-c", IMPORT_WITHOUT_LIBRARIES, ",".join(allowed), *modules],
        cwd=SOURCE.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# The pipeline reads scans that were outside of it: a checkpoint's, and a caller's.
PYDANTIC = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection")


@pytest.mark.parametrize(("package_part", "allowed"), [("core", ()), ("pipeline", PYDANTIC)])
def test_core_runs_on_the_standard_library_alone_and_the_pipeline_with_pydantic(
    package_part: str, allowed: tuple[str, ...]
) -> None:
    modules = sorted(f"{PACKAGE}.{_module(file.relative_to(SOURCE))}" for file in (SOURCE / package_part).rglob("*.py"))
    assert {f"{PACKAGE}.core.windows", f"{PACKAGE}.pipeline.collect"} & set(modules)
    run = import_without_libraries(modules, allowed)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("library", ["dagster", "sqlalchemy", "psycopg", "github", "yaml", "pydantic", "temporalio"])
def test_the_fresh_interpreter_has_no_libraries(library: str) -> None:
    run = import_without_libraries([library])
    assert run.returncode != 0
    assert f"{library} is not of the standard library" in run.stderr


SHOWN_ON_A_TERMINAL = re.compile(
    r"(?<![.\w])print\(|\bstd(?:out|err)\.(?:buffer\.)?write|\b(?:typer|click)\.(?:echo|secho|prompt|confirm)\b"
)
WRITES_CSV = re.compile(r"\b(?:csv\.)?(?:writer|DictWriter)\(|\bto_csv\b|text/csv")


def matching(pattern: re.Pattern[str]) -> set[str]:
    """The modules whose text has such a place."""
    return {str(file.relative_to(SOURCE)) for file in SOURCE.rglob("*.py") if pattern.search(file.read_text("utf-8"))}


def test_what_a_terminal_shows_is_printed_in_one_place() -> None:
    assert matching(SHOWN_ON_A_TERMINAL) == {"cli/output.py"}
    for text in ("print(x)", "sys.stderr.write(x)", "typer.echo(x)", "click.secho(x)", "sys.stdout.buffer.write(x)"):
        assert SHOWN_ON_A_TERMINAL.search(text), text
    assert not SHOWN_ON_A_TERMINAL.search("def _print(x): ...  # console.print(x)")


def test_nothing_writes_csv_in_which_a_spreadsheet_would_run_a_cell() -> None:
    assert matching(WRITES_CSV) == set()
    for text in ("csv.writer(file)", "csv.DictWriter(file, KEYS)", "frame.to_csv()", 'media_type="text/csv"'):
        assert WRITES_CSV.search(text), text


SHOWN_BY_DAGSTER = re.compile(r"\b(?:TableRecord|MetadataValue\.(?:json|md|table|text|url))\(")


def test_what_dagster_shows_of_text_from_outside_is_made_in_one_place() -> None:
    made = {
        str(file.relative_to(SOURCE))
        for file in SOURCE.rglob("*.py")
        if SHOWN_BY_DAGSTER.search(file.read_text("utf-8"))
    }
    assert made == {"defs/plain_metadata.py"}
