# Every target makes and fills .venv by itself; python3 (3.11+) and make are all a machine needs.
PYTHON ?= python3
BIN := .venv/bin
LOCK = UV_SYSTEM_CERTS=1 $(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-annotate --no-header --no-strip-extras
READY := .venv/.ready

.PHONY: demo test check bench dev lock simulate histories e2e wheel

demo: $(READY)  ## the main job on embedded Postgres and a simulated GitHub, then exit
	$(BIN)/ledger-pipeline demo

# Where it is set, every test process and every program that a test starts would compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

PYTEST = $(BIN)/pytest --dist loadgroup --durations=20
# Three processes even on two cores: tests wait for databases, servers and programs, and two left the cores idle then.
test: $(READY)  ## every test but those that `make e2e` runs
	$(PYTEST) -n 3 -m "not e2e"

check: $(READY)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(READY)  ## benchmarks: ratios of two things measured in one run
	$(BIN)/python -m ledger_pipeline_tests.benchmarks

dev: $(READY)  ## the Dagster UI on this machine's ledger
	$(BIN)/ledger-pipeline dev

lock: $(READY)  ## compile requirements.lock, and docker/'s, anew from pyproject.toml
	$(LOCK) --extra dev pyproject.toml --output-file requirements.lock
	$(LOCK) --extra docker --constraint requirements.lock pyproject.toml --output-file docker/requirements.lock
	$(LOCK) --extra docker --constraint requirements.lock pyproject.toml docker/kubernetes.in \
	  --output-file docker/requirements.kubernetes.lock
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml | $(LOCK) --constraint requirements.lock - \
	  --output-file docker/build.lock

e2e: $(READY)  ## the tests marked e2e: whole stacks, killed and restarted; the UI in Debian's chromium (screenshots in .ledger/e2e)
	$(PYTEST) -n 2 -m e2e

wheel: $(READY)  ## the package for machines without a clone, in dist/
	$(BIN)/python -m hatchling build --target wheel --directory dist

histories: $(READY)  ## record histories of the workflows, for their replay by later releases
	$(BIN)/python -m ledger_pipeline_tests.temporal_bridge.record_histories

# Stale (the lock or the project file is newer) is as good as missing: made anew, so that nothing lingers.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ledger-pipeline needs Python 3.11 or newer")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

# Seeds FIRST, FIRST + 1, ...; a failing one is named, with the command that replays it.
SEEDS ?= 2000
FIRST ?= 0
simulate: $(READY)  ## seeded worlds, collections and faults; the ledger must end as the world's truth
	$(BIN)/python -m ledger_pipeline_tests.simulation --seeds $(SEEDS) --first $(FIRST)
