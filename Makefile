# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format docs bench drill clean

demo: .venv/installed ## evolve loss functions on digits with 40 % wrong labels (resumes if interrupted)
	$(BIN)/python -m examples.digits

test: .venv/installed ## the whole test suite, with coverage
	$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term --cov-fail-under=95

lint: .venv/installed ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed ## build the documentation site into site/; a broken link is an error
	$(BIN)/mkdocs build --strict

bench: .venv/installed ## figures, never pass or fail
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.parallel
	$(BIN)/python -m tests.benchmarks.tracking
	$(BIN)/python -m tests.benchmarks.ray_tune
	$(BIN)/python -m tests.benchmarks.data_loading

drill: .venv/installed ## kill, crowd and outlast runs for half an hour (needs PostgreSQL)
	$(BIN)/python -m tests.drills

.venv/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit(f"epbt_optuna needs Python 3.10 or newer, but $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv site runs mlruns .mypy_cache .pytest_cache .ruff_cache .hypothesis
