# `make demo` and `make test` are all the set-up there is: each makes .venv if it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CORE := CMakeLists.txt $(wildcard csrc/*.h csrc/cells/*.h csrc/*.cpp)

# Where the core can be compiled, one that does not compile is an error, not a reason to go without.
COMPILES = $(BIN)/python -c 'import os, shutil, sysconfig; \
  print(int(any(map(shutil.which, ["$(CXX)", "c++", "clang++"])) \
  and os.path.exists(sysconfig.get_path("include") + "/Python.h")))'

# What pyproject.toml lists under a key; pip by itself takes an extra only along with the package.
LISTED = $(BIN)/python -c 'import sys, tomllib; x = tomllib.load(open("pyproject.toml", "rb")); \
  [x := x[key] for key in sys.argv[1:]]; print(*x, sep="\n")'

.DEFAULT_GOAL := help
.PHONY: help demo test test-isas lint bench results clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.run ## train an Elman RNN, an LSTM and a GRU on cos from sin, into demo/
	$(BIN)/unrolled demo --out demo --overwrite

test: lint ## lint, types, import layers, then every test
	$(BIN)/python -m pytest -n auto

test-isas: $(VENV)/.run $(VENV)/.dev ## the parity test on every instruction set of this machine
	UNROLLED_TEST_EVERY_ISA=1 $(BIN)/python -m pytest -n auto tests/nn/test_parity.py

lint: $(VENV)/.run $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.run $(VENV)/.dev ## our modules against torch's, alternating in one process
	$(BIN)/python benchmarks/modules.py

results: $(VENV)/.run $(VENV)/.dev ## train on the three real tables and write docs/results.md anew
	$(BIN)/python examples/results.py

clean: ## remove the environment and what the commands made
	rm -rf $(VENV) build demo results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "unrolled needs Python 3.11 or newer; '$(PYTHON)' is older or missing. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What it takes to build the compiled core, kept in the environment (hence no build isolation) so
# that the next build compiles only what has changed.
$(VENV)/.build: $(VENV)/bin/python pyproject.toml constraints.txt
	$(LISTED) build-system requires | $(INSTALL) cmake ninja -r /dev/stdin
	@touch $@

# The package with what it takes to run, and on top of it what it takes to test.
$(VENV)/.run: $(VENV)/.build $(CORE)
	@echo "Installing unrolled and compiling its core: a minute or two the first time"
	@UNROLLED_REQUIRE_CORE=$${UNROLLED_REQUIRE_CORE-$$($(COMPILES))} $(INSTALL) --no-build-isolation -e .
	@$(BIN)/python -c 'import unrolled._core' 2>/dev/null || \
	  echo "WARNING: unrolled is installed without its compiled core: right, but slower. Install a C++20 compiler, then make clean." >&2
	@touch $@

$(VENV)/.dev: $(VENV)/.build | $(VENV)/.run
	$(LISTED) project optional-dependencies dev | $(INSTALL) -r /dev/stdin
	@touch $@
