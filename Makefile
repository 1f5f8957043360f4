# Every target makes what it needs. Nothing is asked of the machine but Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: venv demo demo-litellm test lint format lock clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo          the daemon against a real local stack (Ctrl-C ends it)'
	@echo 'make test          the whole test suite'
	@echo 'make lint          ruff, mypy, import floors, generated pages'
	@echo 'make venv          only the virtual environment that the others use'
	@echo 'make demo-litellm  also install the real LiteLLM (about 750 MB) for the demo and the tests'

venv: $(VENV)/.installed

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Watchkeeper needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo 'python3 cannot make a venv here; on Debian: apt-get install python3-venv'; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The ClickHouse engine is 900 MB on disk: a venv of its own keeps it out of the daemon's.
.venv-clickhouse/.installed: requirements/clickhouse.txt
	$(PYTHON) -m venv .venv-clickhouse
	.venv-clickhouse/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/clickhouse.txt
	@touch $@

demo-litellm: .venv-litellm/.installed

.venv-litellm/.installed: requirements/litellm.txt
	$(PYTHON) -m venv .venv-litellm
	.venv-litellm/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/litellm.txt
	@touch $@

demo: venv .venv-clickhouse/.installed
	$(BIN)/python -m demo $(ARGS)

test: venv .venv-clickhouse/.installed
	$(BIN)/python -m pytest -n auto $(ARGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
