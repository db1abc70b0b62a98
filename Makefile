# `make demo` and `make test` are all the set-up there is: each makes .venv if it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONVERT := .venv-convert
PEERS := .venv-peers
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
CXX_FILES := $(wildcard csrc/*.h csrc/cells/*.h csrc/*.cpp tests/race/*.h tests/race/*.cpp)
CORE := CMakeLists.txt $(filter csrc/%,$(CXX_FILES))

# Where the core can be compiled, one that does not compile is an error, not a reason to go without.
COMPILES = $(BIN)/python -c 'import os, shutil, sysconfig; \
  print(int(any(map(shutil.which, ["$(CXX)", "c++", "clang++"])) \
  and os.path.exists(sysconfig.get_path("include") + "/Python.h")))'

# What pyproject.toml lists under a key; pip by itself takes an extra only along with the package.
LISTED = $(BIN)/python -c 'import sys, tomllib; x = tomllib.load(open("pyproject.toml", "rb")); \
  [x := x[key] for key in sys.argv[1:]]; print(*x, sep="\n")'

.DEFAULT_GOAL := help
.PHONY: help demo test test-isas test-sklearn sanitize fuzz fuzz-descriptions programs clang race lint site bench bench-linear bench-stream bench-cells bench-compiled bench-peers bench-convert bench-export bench-estimator stills reproduction results clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.run ## train an Elman RNN, an LSTM and a GRU on cos from sin, into demo/
	$(BIN)/unrolled demo --out demo --overwrite

test: lint ## lint, types, import layers, then every test
	$(BIN)/python -m pytest -n auto

# make test runs on the best; here are the kernels that its users with other machines have. What comes out
# the same whatever runs (errors, torch.compile, memory) is left to make test.
ISA_TESTS := $(addprefix tests/scan/test_,native.py native_properties.py gradcheck.py threads.py recompute.py \
  saved.py) tests/nn/test_parity.py tests/nn/test_lengths.py tests/nn/test_quantized.py \
  tests/deploy/test_stream.py tests/deploy/test_stream_cells.py tests/deploy/test_stream_int8.py
test-isas: $(VENV)/.run $(VENV)/.dev ## the core's tests on this machine's other instruction sets
	for isa in $$($(BIN)/python -c 'import unrolled._core as c; print(*c.isas()[:-1])'); do \
	  UNROLLED_ISA=$$isa $(BIN)/python -m pytest -q -n auto $(ISA_TESTS) -k "not reference-" || exit 1; done

test-sklearn: $(VENV)/.run $(VENV)/.dev ## scikit-learn's checks of the estimator over ten seeds (an hour of one core)
	UNROLLED_TEST_SKLEARN_SEEDS=10 $(BIN)/python -m pytest -n auto tests/learn/test_sklearn.py

# A build of the core beside the installed one, in a folder of its own with a copy of the package:
# $(call build_core,the folder,the options). To use it our editable install has to step aside.
define build_core
	$(BIN)/cmake -S . -B $(1) -G Ninja --log-level=WARNING $(2) \
	  -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja) -DPython_EXECUTABLE=$(abspath $(BIN)/python)
	$(BIN)/cmake --build $(1)
	rm -rf $(1)/lib && mkdir $(1)/lib && cp -r src/unrolled $(1)/lib && rm -f $(1)/lib/unrolled/*.so
	cp $(1)/_core*.so $(1)/_stepper*.so $(1)/lib/unrolled
endef
WITH_CORE = env SKBUILD_EDITABLE_SKIP="$${SKBUILD_EDITABLE_SKIP-$$(ls -d $(CURDIR)/build/cp*)}"
USES_CORE = $(BIN)/python -c "from unrolled.scan import native; assert \"$(1)\" in native._core.__file__"

# The sanitizers' runtimes have to be loaded before Python's own libraries. What torch and Python leak
# is not looked at.
SANITIZED := build/sanitize
WITH_SANITIZERS = $(WITH_CORE) ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=64 \
  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)"
.PHONY: sanitized
sanitized: $(VENV)/.run $(VENV)/.dev
	$(call build_core,$(SANITIZED),-DUNROLLED_SANITIZE=ON)
	$(WITH_SANITIZERS) PYTHONPATH=$(SANITIZED)/lib $(call USES_CORE,$(SANITIZED))

# Tests of how much memory there is are left out, since the sanitizer takes its own, and those that
# interrupt long passes, which are far longer here.
sanitize: sanitized ## the core's tests under AddressSanitizer and UndefinedBehaviorSanitizer
	$(WITH_SANITIZERS) PYTHONPATH=$(SANITIZED)/lib \
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/scan tests/nn/test_lengths.py \
	  tests/nn/test_quantized.py tests/deploy/test_stream_int8.py tests/deploy/test_stream.py \
	  tests/deploy/test_models.py tests/deploy/test_stepper_calls.py \
	  tests/deploy/test_stepper_programs.py tests/deploy/test_stream_cells.py \
	  -k "not test_memory and not takes_no_memory and not test_offsets and not only_the_states \
	  and not from_outside and not test_interrupted"

# Modules and descriptions of cells under the sanitizers, since the core is handed bare addresses; whatever
# else reads files on the core as it is installed. FUZZ_AGAIN=FILE runs an input again that was found.
FUZZ_SECONDS ?= 30
FUZZ = $(BIN)/python -m fuzz
FUZZ_CORE = $(WITH_SANITIZERS) PYTHONPATH=$(SANITIZED)/lib:tests $(FUZZ)
ON_CORE = modules descriptions
FUZZ_READERS = PYTHONPATH=tests$${PYTHONPATH:+:$$PYTHONPATH} $(FUZZ)
fuzz: sanitized ## mutate files, streams, lines and programs of modules, FUZZ_SECONDS=30 each
ifdef FUZZ_AGAIN
	$(if $(filter $(ON_CORE),$(subst /, ,$(FUZZ_AGAIN))),$(FUZZ_CORE),$(FUZZ_READERS)) --again $(FUZZ_AGAIN)
else
	failed=0; \
	$(FUZZ_CORE) $(ON_CORE) --seconds $(FUZZ_SECONDS) || failed=1; \
	$(FUZZ_READERS) $(ON_CORE:%=--but %) --seconds $(FUZZ_SECONDS) || failed=1; \
	exit $$failed
endif

COUNT ?= 10000
SEED ?= 0
fuzz-descriptions: sanitized ## COUNT=10000 changed descriptions of cells, from SEED=0: each runs, or is refused in a line
	$(FUZZ_CORE) descriptions --count $(COUNT) --seed $(SEED)

JOBS ?= 2
programs: $(VENV)/.run $(VENV)/.dev ## COUNT=10000 random programs from SEED=0 on, ours against torch's, in JOBS=2 processes
	$(BIN)/python tests/programs/run.py --count $(COUNT) --from $(SEED) --jobs $(JOBS)

# Clang warns of other things, and does other things with undefined behaviour. Without OpenMP, since its
# own runtime is not the one that torch brings: GCC's build tests the threads.
CLANG := build/clang
clang: $(VENV)/.run $(VENV)/.dev ## the core built by clang++, no warning allowed, and its tests
	$(call build_core,$(CLANG),-DCMAKE_CXX_COMPILER=clang++ -DUNROLLED_WERROR=ON)
	export PYTHONPATH=$(CLANG)/lib; $(WITH_CORE) $(call USES_CORE,$(CLANG)) && \
	$(WITH_CORE) $(BIN)/python -m pytest -q -n auto -p no:cacheprovider tests/scan tests/nn/test_parity.py \
	  tests/nn/test_lengths.py tests/nn/test_quantized.py tests/deploy/test_stream.py \
	  tests/deploy/test_stream_int8.py tests/deploy/test_models.py

# Without Python, torch and OpenMP, of whose threads ThreadSanitizer knows nothing.
race: ## the core's threads under ThreadSanitizer
	mkdir -p build
	$(CXX) -std=c++20 -O1 -g -fsanitize=thread -Wall -Wextra -Werror -Wno-psabi -fno-math-errno \
	  -DUNROLLED_ISA=race -DUNROLLED_BYTES=16 tests/race/race.cpp -o build/race -pthread
	build/race

lint: $(VENV)/.run $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports

# Warnings are errors, and a cell of the tutorial that fails is a warning.
site: $(VENV)/.run $(VENV)/.site ## run the tutorial's code cells and build the site, into build/site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

bench: $(VENV)/.run $(VENV)/.dev ## time against torch's modules and ONNX Runtime's, memory, and what recording costs
	$(BIN)/python benchmarks/modules.py
	$(BIN)/python benchmarks/ort.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/recording.py

bench-linear: $(VENV)/.run $(VENV)/.dev ## time against steps, up to a million of them; draws docs/images/linear.png
	$(BIN)/python benchmarks/linear.py --out docs/images/linear.png

bench-stream: $(VENV)/.run $(VENV)/.dev ## time a stream's steps against torch's, and ten million of them each by itself
	$(BIN)/python benchmarks/stream.py
	$(BIN)/python benchmarks/stream_cells.py

bench-cells: $(VENV)/.run $(VENV)/.dev ## time described cells against loops of torch's operations, and against the kernels
	$(BIN)/python benchmarks/cells.py
	$(BIN)/python benchmarks/cells.py --compiled step --pairs 3

bench-compiled: $(VENV)/.run $(VENV)/.dev ## described cells against loops that are compiled as one graph (an hour and more)
	$(BIN)/python benchmarks/cells.py --compiled loop --threads 1 --pairs 3

bench-peers: $(PEERS)/.run ## described cells against xlstm, flashrnn, neuralhydrology and ncps: compared, then timed
	$(PEERS)/bin/python benchmarks/peers.py

bench-estimator: $(VENV)/.run $(VENV)/.dev ## how well the estimator learns scikit-learn's small data, over 20 seeds
	$(BIN)/python benchmarks/estimator.py

bench-export: $(VENV)/.run $(VENV)/.dev ## time exported files in ONNX Runtime, and what 8 bits lose
	$(BIN)/python benchmarks/export.py

stills: demo $(VENV)/.dev ## draw the READMEs' pictures of the report anew, in a Chromium
	$(BIN)/python examples/report_still.py demo --out docs/images/report.png
	$(BIN)/python examples/report_still.py demo --language zh --out docs/images/report.zh.png

bench-convert: $(CONVERT)/.run ## convert models of darts, neuralforecast and skorch, compare, time (2 GB)
	$(CONVERT)/bin/python benchmarks/convert.py

reproduction: $(VENV)/.run $(VENV)/.dev ## run what docs/reproduction/ lacks of the experiments of 1997 (hours), and write its page
	$(INSTALL) --no-deps aeon
	$(BIN)/unrolled reproduce --results docs/reproduction
	$(BIN)/unrolled reproduce --results docs/reproduction --page docs

results: $(VENV)/.run $(VENV)/.dev ## train on the three real tables and write docs/results.md anew
	$(BIN)/python examples/results.py

clean: ## remove the environment and what the commands made
	rm -rf $(VENV) $(CONVERT) $(PEERS) build demo results .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

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
	@echo "Installing unrolled and compiling its core: five minutes or so on two cores the first time"
	@UNROLLED_REQUIRE_CORE=$${UNROLLED_REQUIRE_CORE-$$($(COMPILES))} $(INSTALL) --no-build-isolation -e .
	@$(BIN)/python -c 'import unrolled._core' 2>/dev/null || \
	  echo "WARNING: unrolled is installed without its compiled core: right, but slower. Install a C++20 compiler, then make clean." >&2
	@touch $@

$(VENV)/.dev: $(VENV)/.build | $(VENV)/.run
	$(LISTED) project optional-dependencies dev | $(INSTALL) -r /dev/stdin
	@touch $@

$(VENV)/.site: $(VENV)/.build | $(VENV)/.run
	$(LISTED) project optional-dependencies site | $(INSTALL) -r /dev/stdin
	@touch $@

# Other people's packages, in an environment of their own: they are gigabytes, and no part of ours. The
# build has a directory of its own too, since the compiler's paths in it are this environment's.
$(CONVERT)/.run: $(CORE) pyproject.toml constraints.txt benchmarks/convert-requirements.txt
	$(PYTHON) -m venv $(CONVERT)
	rm -rf build/convert
	$(CONVERT)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -C build-dir=build/convert -r benchmarks/convert-requirements.txt -e .
	@touch $@

# As above. Without what the packages ask for beyond what these cells import, which is gigabytes too.
$(PEERS)/.run: $(CORE) pyproject.toml constraints.txt benchmarks/peers-requirements.txt
	$(PYTHON) -m venv $(PEERS)
	rm -rf build/peers
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -C build-dir=build/peers -e .
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  -r benchmarks/peers-requirements.txt
	@touch $@
