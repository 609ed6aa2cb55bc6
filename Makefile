# make setup | demo | studies | coinrun | test | test-quick | test-slow | check | docs | format | lock | clean
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --progress-bar off
ROOT ?= lampworks-data
# procgen has builds for Python 3.11 and 3.12 alone
COINRUN := $(shell $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo coinrun)
# the longest first, as two of them are made beside each other
STUDIES ?= tokenizers curation scaling lam-input $(COINRUN) decoding injection cloning prompts
JOBS ?= 2
SLOW_JOBS ?= 3
# torch pins CUDA packages that no CPU build needs; the lock leaves all of them to pip
TORCH := torch|triton|cuda-|nvidia-

.PHONY: setup setup-dev setup-locked demo studies coinrun test test-quick test-slow check docs format lock clean

setup: .venv/.runtime

setup-dev: .venv/.dev

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "lampworks needs Python 3.11 to 3.13; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "python3-venv is missing; install it with: apt-get install python3-venv"; exit 2; }

# one pip command: staged installs resolve to versions that contradict each other
.venv/.runtime: .venv/bin/pip pyproject.toml constraints.txt
	@echo "setting up .venv (a few minutes the first time)"
	@$(PIP) -c constraints.txt torch==2.13.0 -e .
	@touch $@

.venv/.dev: .venv/bin/pip pyproject.toml constraints.txt
	@echo "setting up .venv with the tools of the tests (a few minutes the first time)"
	@$(PIP) -c constraints.txt torch==2.13.0 -e '.[dev]'
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	      echo "installing chromium for the browser tests"; \
	      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	    else echo "the browser tests need Chromium; install it with: sudo apt-get install chromium"; fi; }
	@touch .venv/.runtime $@

# every file that pip fetches must have a hash of requirements.lock; torch alone is taken by its version
setup-locked: .venv/bin/pip
	@$(PIP) --no-deps --require-hashes -r requirements.lock
	@$(PIP) -c constraints.txt torch==2.13.0 -e '.[dev]'
	@touch .venv/.runtime .venv/.dev

demo: .venv/.runtime
	@$(BIN)/lampworks demo --root $(ROOT)

# every study at toy size, and docs/studies.md from them; one that was stopped goes on with what is missing.
# `curation` reads the clips of $(ROOT), `cloning` and `prompts` its world: `make demo` makes both
studies: .venv/.runtime $(if $(filter coinrun,$(STUDIES)),build/coinrun/.venv/.ready)
	@printf '%s\n' $(STUDIES) | sed 's|^coinrun$$|coinrun --out build/coinrun|' | \
	  LAMPWORKS_ROOT=$(ROOT) xargs -P $(JOBS) -I NAME sh -c '$(BIN)/lampworks study NAME --page docs/studies.md'

# the paper's case study at toy width, in an environment of its own: procgen needs numpy below 2
coinrun: .venv/.runtime build/coinrun/.venv/.ready
	@$(BIN)/lampworks study coinrun --python build/coinrun/.venv/bin/python --out build/coinrun

build/coinrun/.venv/.ready: pipeline/coinrun/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
	  { echo "procgen has no build for this Python ($$($(PYTHON) --version)): name a 3.11 or 3.12 with: make PYTHON=/path/to/python3.11 coinrun"; exit 2; }
	@mkdir -p build/coinrun && $(PYTHON) -m venv --clear build/coinrun/.venv
	@build/coinrun/.venv/bin/pip install --quiet --disable-pip-version-check --progress-bar off --no-deps \
	  --only-binary :all: -r $< || { echo "the environment of procgen could not be made (pip says why above); it was tried on Linux, x86-64"; exit 2; }
	@touch $@

# one process of tests per core; inside each, products run on one thread, or the processes would wait for each other.
# tests/conftest.py puts the longest files first; compiled files are kept: each process compiles all tests otherwise
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --dist loadfile --no-loadscope-reorder

test: .venv/.dev
	@$(PYTEST) -n $(JOBS) --durations 20

# unit tests and properties without a browser and without what takes a second each: for the minute before a commit
test-quick: .venv/.dev
	@$(PYTEST) -n $(JOBS) tests/unit tests/property -m 'not slow and not browser and not heavy'

# the proofs that take minutes: processes that often wait for each other, so three at a time keep two cores busy
test-slow: .venv/.dev
	@$(PYTEST) -n $(SLOW_JOBS) -m slow --timeout 1800 --durations 20

check: .venv/.dev
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy --no-error-summary && $(BIN)/lint-imports
	@echo "check: ok"

# the pages of docs/ and the references made from the code, in build/site; a broken link fails
docs: .venv/.dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "docs: build/site/index.html"

format: .venv/.dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

# constraints.txt keeps its versions where they still fit (UPGRADE=--upgrade renews all); the lock adds their hashes
lock: .venv/bin/pip
	@$(PIP) uv
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 $(UPGRADE) \
	  --no-annotate --custom-compile-command 'make lock' --quiet -o constraints.txt
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 -c constraints.txt \
	  --generate-hashes --no-annotate --custom-compile-command 'make lock' --quiet -o .venv/requirements.lock \
	  $(addprefix --no-emit-package ,$(shell grep -oE '^($(TORCH))[a-z0-9-]*' constraints.txt))
	@mv .venv/requirements.lock requirements.lock

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
