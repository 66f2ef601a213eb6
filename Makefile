# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv/optuna-4.9

.PHONY: demo test test-oldest lint format docs bench drill clean

demo: .venv/demo ## evolve loss functions on digits with 40 % wrong labels (resumes if interrupted)
	$(BIN)/python -m examples.digits

test: .venv/installed ## the whole test suite, with coverage
	$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term --cov-fail-under=95

# It stands before the newest Optuna on the path, also on that of worker processes.
test-oldest: $(OLDEST) ## what depends on Optuna, with the oldest one that is supported
	PYTHONPATH=$(abspath $(OLDEST)) $(BIN)/python -c 'import optuna; print("Optuna", optuna.__version__)'
	PYTHONPATH=$(abspath $(OLDEST)) $(BIN)/python -m pytest -n 2 --dist loadgroup \
		--ignore-glob 'tests/parallel/test_ray*' \
		$(addprefix --ignore tests/,cli docs integration integrations losses operators paper properties testing tracking tuning visualization)

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

drill: .venv/installed ## kill, crowd and outlast runs for two hours (needs PostgreSQL)
	$(BIN)/python -m tests.drills

$(OLDEST): .venv/installed
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $@ 'optuna==4.9.*'

.venv/installed: pyproject.toml
	$(make_venv)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch .venv/demo $@ # which is a part of it

.venv/demo: pyproject.toml
	@echo 'Setting up .venv for the demo (once): mostly torch, of some gigabytes.'
	$(make_venv)
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	touch $@

define make_venv
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit(f"epbt_optuna needs Python 3.10 or newer, but $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
endef

clean:
	rm -rf .venv site runs mlruns .mypy_cache .pytest_cache .ruff_cache .hypothesis
