# Everything runs in .venv, which the first verb that needs it creates. Only Python >= 3.11 (with venv) and make
# have to be there.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r verb text; do printf '  make %-10s %s\n' "$$verb" "$$text"; done

.PHONY: demo
demo: .venv/demo.stamp ## Start the service with a simulated fleet (ONCE=1: end by itself)
	@$(BIN)/overair demo $(if $(ONCE),--once)

.PHONY: test
test: .venv/test.stamp check ## Run the checks and all tests; on Debian as root, installs the real clients too
	@$(BIN)/python tests/real_clients/install.py
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: .venv/test.stamp ## Run ruff, mypy and the import contracts
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > .venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }

.PHONY: unit
unit: .venv/test.stamp ## Run the tests that need no real client
	@$(BIN)/python -m pytest --ignore=tests/real_clients $(ARGS)

.PHONY: sim
sim: .venv/test.stamp ## Run simulated worlds of many seeds (SEEDS=1000 FIRST=1); tells which broke, and how
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),1)

.PHONY: format
format: .venv/test.stamp ## Format the code
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

.PHONY: bench
bench: .venv/bench.stamp ## Run the benchmarks; each prints its ratio to a baseline of the same run
	@$(BIN)/python -m bench $(ARGS)

.PHONY: fuzz
fuzz: .venv/fuzz.stamp ## Fuzz every parser (SECONDS=60 each)
	@for target in tests/fuzz/fuzz_*.py; do echo "$$target"; $(BIN)/python $$target -max_total_time=$(or $(SECONDS),60) -verbosity=0 || exit 1; done

.PHONY: docs
docs: .venv/test.stamp ## Write docs/openapi.json
	@$(BIN)/overair openapi > docs/openapi.json

.PHONY: clean
clean: ## Remove the environment and everything built
	rm -rf .venv .clients .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Overair needs Python 3.11 or newer: make PYTHON=/path/to/python3'; exit 1; }
	@$(PYTHON) -m venv .venv

# Exact versions stand in constraints.txt, so that a clone of today runs tomorrow.
.venv/demo.stamp: .venv/bin/python pyproject.toml constraints.txt
	@$(PIP) install -c constraints.txt -e . && touch $@

.venv/test.stamp: .venv/bin/python pyproject.toml constraints.txt
	@$(PIP) install -c constraints.txt -e '.[test]' && touch $@ .venv/demo.stamp

.venv/bench.stamp: .venv/bin/python pyproject.toml constraints.txt
	@$(PIP) install -c constraints.txt -e '.[bench]' && touch $@

.venv/fuzz.stamp: .venv/test.stamp
	@$(PIP) install -c constraints.txt -e '.[test,fuzz]' && touch $@
