# Two commands do everything: `make demo` (environment and main job) and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup demo test test-slow lint types check clean

setup: $(VENV)/.installed

# Every version is pinned in requirements.lock, which says why it is installed without dependencies and torch again with them. The package
# itself is installed in place, without looking further.
$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "multigrain needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)")'
	@echo "Making the environment in $(VENV) (about a minute and a half) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --no-deps -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --constraint requirements.lock torch
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	$(BIN)/multigrain demo --out demo

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

check: test lint types

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
