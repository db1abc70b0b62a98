# `make demo` and `make test` are all the set-up there is: each makes .venv if it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench results clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/.run ## train an Elman RNN, an LSTM and a GRU on cos from sin, into demo/
	$(BIN)/unrolled demo --out demo --overwrite

test: lint ## lint, types, import layers, then every test
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## our modules against torch's, alternating in one process
	$(BIN)/python benchmarks/modules.py

results: $(VENV)/.dev ## train on the three real tables and write docs/results.md anew
	$(BIN)/python examples/results.py

clean: ## remove the environment and what the commands made
	rm -rf $(VENV) demo results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "unrolled needs Python 3.11 or newer; '$(PYTHON)' is older or missing. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What it takes to run, and on top of it what it takes to test.
$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(INSTALL) -e '.[dev]'
	@touch $@
