# Two commands for a fresh clone: `make demo` and `make test`. Both make their own environment in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test lint unit system sweep bench clean

demo: $(VENV)/.installed
	$(BIN)/labctl drill sentinel-failover

test: lint
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup tests/unit tests/system

unit: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(WORKERS) tests/unit

system: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup tests/system

sweep: $(VENV)/.installed-dev
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "thorough or not thorough" tests/system/faults/test_crashes.py tests/system/test_alerts.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.installed-dev
	for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("labctl needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) dist build
