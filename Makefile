# make setup | demo | test | test-slow | check | clean
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt
ROOT ?= lampworks-data

.PHONY: setup setup-dev demo test test-slow check format clean

setup: .venv/.runtime

setup-dev: .venv/.dev

.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
	  { echo "lampworks needs Python 3.11 or 3.12; name one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv .venv || { echo "python3-venv is missing; install it with: apt-get install python3-venv"; exit 2; }

# one pip command: staged installs resolve to versions that contradict each other
.venv/.runtime: .venv/bin/pip pyproject.toml constraints.txt
	@echo "setting up .venv (a few minutes the first time)"
	@$(PIP) torch==2.13.0 -e .
	@touch $@

.venv/.dev: .venv/bin/pip pyproject.toml constraints.txt
	@echo "setting up .venv with the tools of the tests (a few minutes the first time)"
	@$(PIP) torch==2.13.0 -e '.[dev]'
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  { if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	      echo "installing chromium for the browser tests"; \
	      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	    else echo "the browser tests need Chromium; install it with: sudo apt-get install chromium"; fi; }
	@touch .venv/.runtime $@

demo: .venv/.runtime
	@$(BIN)/lampworks demo --root $(ROOT)

test: .venv/.dev
	@$(BIN)/python -m pytest -q

test-slow: .venv/.dev
	@$(BIN)/python -m pytest -q -m slow --timeout 1800

check: .venv/.dev
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/mypy --no-error-summary && $(BIN)/lint-imports
	@echo "check: ok"

format: .venv/.dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
