# Every target that needs the environment creates it: .venv from requirements.lock (hashed), the node from package-lock.json.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= 2
DATA ?=
REPORT ?= out/demo.html
STEPS ?= 1000000
SEED ?= 1
SAMPLE ?= 120
COUNT ?= 1000

.DEFAULT_GOAL := help
.PHONY: help setup node demo test check format abi bench-gas bench-keeper bench-risk fuzz soak mutate coverage snapshots clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Ballast needs Python >= 3.11, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else 0'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked environment into $(VENV) (a minute or two on the first run)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

setup: $(READY) ## create the environment in .venv from the lock file

node_modules/.ready: package.json package-lock.json
	@if command -v npm >/dev/null; then npm ci --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm not found: tests on a real node will be skipped"; fi

node: node_modules/.ready ## install the anvil node (where npm is present)

demo: $(READY) ## the main job end to end on an embedded chain; DATA=<csv folder> replays real prices
	@$(BIN)/ballast demo --report $(REPORT) $(if $(DATA),--data $(DATA))

test: $(READY) node ## all tests, quick profile
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup -q

check: $(READY) ## format, lint, types, ABI and layout drift
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python scripts/export_abi.py --check

format: $(READY) ## rewrite the Python files in house format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

abi: $(READY) ## compile the contracts and rewrite abi/
	@$(BIN)/python scripts/export_abi.py

bench-gas: $(READY) ## gas of the calls in the cost table
	@$(BIN)/python scripts/bench_gas.py

bench-keeper: $(READY) ## speed of the keeper on 100,000 accounts on anvil
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python scripts/bench_keeper.py

bench-risk: $(READY) ## speed of the risk library beside py_vollib_vectorized, QuantLib and numpy, with agreement of values
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python scripts/bench_risk.py

fuzz: $(READY) ## the whole protocol at random, STEPS=1000000 SEED=1; prints steps, seeds, violations
	@$(BIN)/python -m tests.fuzz --steps $(STEPS) --seed $(SEED) --jobs $(JOBS)

soak: $(READY) node ## the keeper on anvil for long: kill -9, SIGTERM, forks; COUNT=1000 SEED=1, half an hour
	@$(BIN)/python -m tests.soak kills --count $(COUNT) --seed $(SEED)
	@$(BIN)/python -m tests.soak terms --seed $(SEED)
	@$(BIN)/python -m tests.soak reorgs --seed $(SEED)
	@$(BIN)/python -m tests.soak daemons --seed $(SEED)

mutate: $(READY) ## slips of the hand in the contracts: how many the tests notice; SAMPLE=120 SEED=1
	@$(BIN)/python -m tests.mutation --sample $(SAMPLE) --seed $(SEED) --jobs $(JOBS)

coverage: $(READY) ## lines and branches of the contracts that titanoboa's tests run; revm's are not seen
	@$(BIN)/python scripts/coverage_contracts.py

snapshots: $(READY) ## measure code size and gas again, rewrite tests/snapshots
	@$(BIN)/python -m tests.snapshots

clean: ## remove what can be made again
	@rm -rf $(VENV) node_modules out .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
