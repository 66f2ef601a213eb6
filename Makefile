# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
SCRIPTS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := $(VENV)/$(SCRIPTS)
OPTUNA_4 := $(VENV)/optuna-4.9
OLDEST_EXTRAS := mlflow,ray,tests,torch

.PHONY: demo test test-optuna-4 test-oldest test-no-extras test-portable lint format docs bench gpu drill clean

demo: $(VENV)/demo ## evolve loss functions on digits with 40 % wrong labels (resumes if interrupted)
	$(BIN)/python -m examples.digits

# Some tests wait more than they compute, so there is one process more than two cores could use.
test: $(VENV)/installed ## the whole test suite; with COVERAGE=1 it takes longer, and fails below 95 %
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=95)

# It stands before the newest Optuna on the path, also on that of worker processes.
test-optuna-4: $(OPTUNA_4) ## what depends on Optuna, with the oldest one that is supported
	PYTHONPATH=$(abspath $(OPTUNA_4)) $(BIN)/python -c 'import optuna; print("Optuna", optuna.__version__)'
	PYTHONPATH=$(abspath $(OPTUNA_4)) $(BIN)/python -m pytest -n 2 --dist loadgroup \
		--ignore-glob 'tests/parallel/test_ray*' \
		$(addprefix --ignore tests/,benchmarks cli docs integration integrations losses operators paper properties testing tracking tuning visualization)

# Old packages warn of what newer ones beside them do: that is no failure. Left out is what the compiler
# of torch 2.5 and the interpreter of its Triton refuse.
test-oldest: $(VENV)/oldest/installed ## the oldest version of every package that pyproject.toml allows
	$(VENV)/oldest/$(SCRIPTS)/python -m pytest -n 2 --dist loadgroup -W default -k 'not compiled and not interpreted' \
		$(addprefix tests/,lineage losses operators pruning samplers visualization parallel/test_ray_bad_input.py) \
		$(addprefix tests/tracking/test_,bad_input.py mlflow.py models.py names_and_values.py parent.py runs.py worker.py) \
		--ignore tests/visualization/test_markup.py

test-no-extras: $(VENV)/plain/installed ## the wheel as `pip install` brings it, without torch
	$(VENV)/plain/$(SCRIPTS)/python -m pytest --noconftest tests/integration/test_without_torch.py

# What needs no server, no browser and no fork.
test-portable: $(VENV)/installed ## what is tested on macOS and Windows
	$(BIN)/python -m pytest -n 2 --dist loadgroup \
		$(addprefix tests/,lineage losses operators pruning samplers population test_evolution.py test_genome.py)

lint: $(VENV)/installed ## style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed ## build the documentation site into site/; a broken link is an error
	$(BIN)/mkdocs build --strict

bench: $(VENV)/installed ## docs/benchmarks.md: figures beside every rival's; nothing passes or fails
	$(BIN)/python -m tests.benchmarks

gpu: $(VENV)/installed ## the figures of docs/benchmarks.md that need CUDA
	$(BIN)/python -m tests.benchmarks.gpu

drill: $(VENV)/installed ## kill, crowd and outlast runs for two hours (needs PostgreSQL)
	$(BIN)/python -m tests.drills

$(OPTUNA_4): $(VENV)/installed
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $@ 'optuna==4.9.*'

$(VENV)/installed: pyproject.toml
	$(call install,$(VENV),dev)
	touch $(VENV)/demo $@ # which is a part of it

$(VENV)/demo: pyproject.toml
	@echo 'Setting up $(VENV) for the demo (once): mostly torch, of some gigabytes.'
	$(call install,$(VENV),demo)
	touch $@

$(VENV)/oldest/installed: pyproject.toml tests/constraints-oldest.txt
	$(call install,$(@D),$(OLDEST_EXTRAS),--constraint tests/constraints-oldest.txt)
	touch $@

$(VENV)/plain/installed: pyproject.toml
	$(call install,$(@D),tests)
	touch $@

define install # folder, extras, options
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit(f"epbt_optuna needs Python 3.10 or newer, but $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(1)
	$(1)/$(SCRIPTS)/python -m pip install --quiet --upgrade pip
	$(1)/$(SCRIPTS)/python -m pip install --quiet --editable '.[$(2)]' $(3)
endef

clean:
	rm -rf $(VENV) site runs mlruns .mypy_cache .pytest_cache .ruff_cache .hypothesis
