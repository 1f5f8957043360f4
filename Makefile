# Every target makes what it needs. Nothing is asked of the machine but Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests that run at once: one more than there are cores, since much of the time goes on waiting for outages to be seen.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.PHONY: help venv demo demo-litellm record test test-fuzz test-kills faults lint format pages lock clean bench-backup
.DEFAULT_GOAL := help

help:
	@echo 'make demo          the daemon against a real local stack (Ctrl-C ends it)'
	@echo 'make test          the whole test suite, the comparison of generated pages with the code among it'
	@echo 'make test-kills    kill -9 at 50 moments of a backup, ClickHouse with it (20 minutes); `make test` takes 4 of them'
	@echo 'make test-fuzz     every probe against hostile servers, at length (5 minutes); `make test` takes a part of it'
	@echo 'make faults        the fault matrix: every fault against a real daemon (12 minutes); ARGS="--only redis 21", ARGS=--list'
	@echo 'make lint          ruff, mypy, import floors'
	@echo 'make format        what ruff can put right by itself'
	@echo 'make pages         writes the generated pages of docs/reference anew'
	@echo 'make lock          requirements/*.txt anew from pyproject.toml; ARGS=--upgrade takes newer versions'
	@echo 'make venv          only the virtual environments that the others use'
	@echo 'make demo-litellm  also install the real LiteLLM (about 750 MB) for the demo and the tests'
	@echo 'make record        what real servers answer, recorded anew for the tests (tests/data/recorded); ARGS="--only valkey"'
	@echo 'make bench-backup  our backup beside pg_dump, zstd and rclone (both from the system); ARGS="--megabytes 300"'
	@echo 'make clean         removes caches and built wheels; virtual environments stay'

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

record: venv .venv-clickhouse/.installed .venv-litellm/.installed
	$(BIN)/python -m demo.record $(ARGS)

test: venv .venv-clickhouse/.installed
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-fuzz: venv .venv-clickhouse/.installed
	FUZZ_ROUNDS=5 $(BIN)/python -m pytest tests/services/probes/test_monitor_probes_hostile.py \
	  tests/services/probes/test_monitor_probes_maimed.py $(ARGS)

test-kills: venv .venv-clickhouse/.installed
	BACKUP_KILLS=50 $(BIN)/python -m pytest -s tests/services/backup/test_backup_kills.py $(ARGS)

faults: venv .venv-clickhouse/.installed
	$(BIN)/python -m demo.faults $(ARGS)

bench-backup: venv
	$(BIN)/python -m benchmarks.backup $(ARGS)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pages: venv
	@for page in docs/*.py; do $(BIN)/python "$$page" || exit 1; done

# Each file holds names, versions and hashes for every platform and Python from 3.11 on, and no address: the tool may be
# told of a package index of one's own, but must not write it down. It lives for this one run.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
  --no-emit-index-url --no-emit-find-links $(ARGS)

lock:
	@tool=$$(mktemp -d) && trap 'rm -rf "$$tool"' EXIT && $(PYTHON) -m venv "$$tool" && \
	  "$$tool/bin/python" -m pip install --quiet --disable-pip-version-check uv && cd requirements && \
	  PATH="$$tool/bin:$$PATH" && set -ex && \
	  $(COMPILE) ../pyproject.toml --extra apprise -o run.txt && \
	  $(COMPILE) ../pyproject.toml --extra apprise --group ../pyproject.toml:dev --group ../pyproject.toml:demo -o dev.txt && \
	  $(COMPILE) --group ../pyproject.toml:build -o build.txt && \
	  $(COMPILE) --group ../pyproject.toml:clickhouse -o clickhouse.txt && \
	  $(COMPILE) --group ../pyproject.toml:litellm -o litellm.txt

clean:
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -path './.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
