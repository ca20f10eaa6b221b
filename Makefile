# Every target first makes .venv (once) with the exact versions of constraints.txt, then runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: help bench why test test-all gradflow shapes spectrum learn advise sweep parallel forecast docs lint clean
.DEFAULT_GOAL := help

help: ## what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bench: $(READY) ## how fast: fused against unrolled recurrences (ARGS="--cell lstm" adds options)
	$(BIN)/pytest bench/ --benchmark-only $(ARGS)

# Side by side on two cores, one thread each; what measures time runs apart, with nothing beside it.
test: $(READY) ## the tests, but for the slow ones (ARGS="tests/speed" chooses some)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/pytest -n 2 -m "not slow and not timing" $(ARGS)
	$(BIN)/pytest -m "timing and not slow"

test-all: $(READY) ## all tests, the slow ones too
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/pytest -n 2 -m "not timing" $(ARGS)
	$(BIN)/pytest -m timing

why: $(READY) ## why a loop is slower: what each change between it and fused saves
	$(BIN)/python -m diagnostics.why $(ARGS)

gradflow: $(READY) ## how far back: the gradient's norm over sequence length
	$(BIN)/python -m diagnostics.gradflow $(ARGS)

shapes: $(READY) ## what goes in and comes out: parameters, outputs and states of layers and cells
	$(BIN)/python -m diagnostics.shapes $(ARGS)

spectrum: $(READY) ## chaotic or not: Lyapunov exponents and Jacobian singular values
	$(BIN)/python -m diagnostics.spectrum $(ARGS)

learn: $(READY) ## what is learned in the end: tasks of known delay, beside the horizon before training
	$(BIN)/python -m diagnostics.learn $(ARGS)

advise: $(READY) ## what to change where a network does not learn, tried beside it
	$(BIN)/python -m diagnostics.advise $(ARGS)

sweep: $(READY) ## a grid of settings and seeds, on all cores (ARGS="spectrum --over gain=0.5:2:16")
	$(BIN)/python -m diagnostics.sweep $(ARGS)

parallel: $(READY) ## whether it can run in parallel over time: Newton's iterations, beside the exponent
	$(BIN)/python -m diagnostics.parallel $(ARGS)

forecast: $(READY) ## clipping in real training: a small forecaster, its loss, norms and closed loop
	$(BIN)/python -m diagnostics.forecast $(ARGS)

docs: $(READY) ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: $(READY) ## ruff (lint and format) and mypy (strict)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove .venv and every cache
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks build

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "unrolled needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "unrolled: installing into $(VENV) what constraints.txt names, once. PyTorch is most of it: about 1 GB on disk"
	@echo "and one to two minutes; with CUDA, which is what Linux gets by default, about 5 GB and several minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
