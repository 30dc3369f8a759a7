# The commands for people and CI. Each target creates the environment that it needs, so any of them may be the first
# command on a fresh machine with make and Python 3.11 or newer.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The environment is one folder: two targets that install into it at the same time would break it.
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(shell scripts/find-python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
# What the browser tests inject into pages; it is no part of grange.
AXE := tests/browser/node_modules/.package-lock.json
NEWEST := .venv-newest
NEWEST_READY := $(NEWEST)/.ready
PIP_FLAGS := --quiet --disable-pip-version-check

# Workers for the tests that need no server. Tests with servers and processes run one at a time: they measure no times,
# but two clusters on two cores slow each other down.
WORKERS ?= 2
# Tests that need no server, no process, no copy of the tree and no program of the system.
FAST := not servers and not processes and not planted and not tools and not browser
# Further arguments for pytest, for example: make check PYTEST_ARGS="-k mailbox"
PYTEST_ARGS ?=
# The cluster that `make dev` keeps running, as module:silo, and what feeds it.
APP ?= examples.flights.app:silo
FEED ?= $(if $(filter examples.flights.app:silo,$(APP)),$(BIN)/python -m examples.flights.live {gateways})

.PHONY: help
help: ## show this list
	@echo "grange: virtual actors for Python"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-22s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: $(READY) ## two silos, a month of real flights, one silo killed half-way, every total checked
	$(BIN)/python -m examples.flights

.PHONY: test
test: check test-simulation test-planted test-servers test-browser test-newest ## everything: check, then seeds, planted bugs, and tests on real servers and processes

.PHONY: check
check: lint types test-fast ## the fast part: format, lint, layers, types, tests without servers

# Run it on an idle machine. OUTAGE is in seconds; ROWS=F1,F5 plays only these rows; SEED repeats the choices of a run.
ROUNDS ?= 3
ROWS ?=
OUTAGE ?= 600
SEED ?=
.PHONY: faults
faults: $(READY) ## play every fault from outside in ROUNDS rounds; show figures and targets (ROWS=F1,F5 OUTAGE=600)
	$(BIN)/python -m tests.processes.faults --rounds $(ROUNDS) --rows "$(ROWS)" --outage $(OUTAGE) \
		$(if $(SEED),--seed $(SEED))

.PHONY: bench
bench: $(READY) ## measure grange and its peers, its starts and its longest holds; write benchmarks/results.json
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.stalls
	$(BIN)/python -m benchmarks.stores
	$(BIN)/python -m benchmarks.reminders
	$(BIN)/python -m benchmarks.scrape
	$(BIN)/python -m benchmarks.paint
	$(BIN)/python -m benchmarks.listing
	$(BIN)/python -m benchmarks.tracing
	$(BIN)/python -m benchmarks.board
	$(BIN)/python -m benchmarks.tls

.PHONY: profile
profile: $(READY) ## where the microseconds of a remote and a local call go, by the steps of docs/one-call.md
	$(BIN)/python -m benchmarks.profile --functions 10

# BASE is the commit to compare with; GUARD_ROUNDS more rounds are needed on a busier machine.
BASE ?= HEAD~1
GUARD_ROUNDS ?= 7
.PHONY: bench-guard
bench-guard: $(READY) ## fail if a call takes 10 % more processor time than in the parent commit (BASE=commit)
	$(BIN)/python -m benchmarks.guard --base "$(BASE)" --rounds $(GUARD_ROUNDS)

.PHONY: dev
dev: $(READY) ## a local cluster of two silos with a living dashboard, fed with flights (APP=module:silo)
	$(BIN)/grange dev $(APP) $(if $(FEED),--with "$(FEED)")

# A failing seed prints the command that repeats it: make simulate SEED=7
SEEDS ?= 20000
FIRST ?= 1
.PHONY: simulate
simulate: $(READY) ## whole clusters under faults, one for each seed (SEEDS=20000 FIRST=1, or one with its log: SEED=7)
	@$(BIN)/python -m grange.testing.simulation --workers $(WORKERS) \
		$(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST)) $(if $(JSON),--json)

.PHONY: test-simulation
test-simulation: $(READY) ## 200 seeds of the simulation, ten virtual minutes each
	$(BIN)/python -m grange.testing.simulation --seeds 200 --workers $(WORKERS) --strict

.PHONY: manifests
manifests: $(READY) ## write deploy/kubernetes and deploy/helm again, from deploy/source
	$(BIN)/python -m deploy.source

.PHONY: lint
lint: locks ## format, lint and layers only
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

.PHONY: locks
locks: $(READY) ## the locks only: hashes, and no version below the floors of requirements/floors.toml; needs no network
	$(BIN)/python -m scripts.check_locks

# Exit code 1: a known vulnerability; 3: not audited, because the service does not answer.
.PHONY: audit
audit: locks ## ask a service for known vulnerabilities of every locked package (code 3: it does not answer)
	@$(BIN)/python -m scripts.audit

.PHONY: sbom
sbom: $(READY) ## write the wheel's bill of materials again, after `make lock`
	$(BIN)/python -m scripts.sbom

.PHONY: types
types: $(READY) ## mypy strict and basedpyright strict only
	$(BIN)/mypy
	$(BIN)/basedpyright

.PHONY: format
format: $(READY) ## let ruff format the code and fix lint errors
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: test-fast
test-fast: $(READY) ## tests that need neither servers nor processes
	$(BIN)/python -m pytest -q -n $(WORKERS) -m "$(FAST)" $(PYTEST_ARGS)

.PHONY: test-planted
test-planted: $(READY) ## bugs planted in a copy of the tree: a check must find each of them
	$(BIN)/python -m pytest -q -n $(WORKERS) -m planted $(PYTEST_ARGS)

.PHONY: test-servers
test-servers: $(READY) $(TOOLS) ## tests on real Redis, real Postgres, real Prometheus and real processes
	$(BIN)/python -m pytest -q -m "(servers or processes or tools) and not browser" $(PYTEST_ARGS)

.PHONY: test-browser
test-browser: $(READY) $(TOOLS) $(AXE) ## every page and action of the dashboard in a real Chromium
	$(BIN)/python -m pytest -q -m browser $(PYTEST_ARGS)

# The recipe finds the second Python when the target runs, so `make check` does not. It uses AGAIN, because
# `make --dry-run` runs every recipe that contains the variable MAKE.
AGAIN = $(MAKE)
.PHONY: test-newest
test-newest: $(READY) ## tests without servers again, on the newest other Python found
	@base=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	newest=$$(scripts/find-python newer "$$base"); \
	if [ -z "$$newest" ]; then \
		echo "no working Python newer than $$base found; its tests have run already"; \
	else \
		$(AGAIN) --no-print-directory $(NEWEST_READY) NEWEST_PYTHON="$$newest" && \
		$(NEWEST)/bin/python -m pytest -q -n $(WORKERS) \
			-m "$(FAST)" --ignore=tests/architecture --ignore=tests/typing $(PYTEST_ARGS); \
	fi

.PHONY: lock
lock: $(READY) ## renew the hash-pinned requirements from pyproject.toml (UPGRADE=1: newest versions)
	scripts/lock $(BIN)/uv $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## remove environments, caches and build results
	rm -rf $(VENV) $(NEWEST) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.locked: requirements/dev.txt
	@test -n "$(PYTHON)"
	@echo "making $(VENV) with $(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes --only-binary :all: -r requirements/dev.txt
	@touch $@

$(READY): $(VENV)/.locked pyproject.toml
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@

$(AXE): tests/browser/package-lock.json | $(TOOLS)
	cd tests/browser && npm ci --silent --no-audit --no-fund --ignore-scripts
	@touch $@

$(TOOLS): scripts/install-tools $(VENV)/.locked
	scripts/install-tools
	@touch $@

$(NEWEST)/.locked: requirements/test.txt
	@echo "making $(NEWEST) with $(NEWEST_PYTHON)"
	$(NEWEST_PYTHON) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip install $(PIP_FLAGS) --require-hashes --only-binary :all: -r requirements/test.txt
	@touch $@

$(NEWEST_READY): $(NEWEST)/.locked pyproject.toml
	$(NEWEST)/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@
