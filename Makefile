# The table of contents of development. Every target does all its own set-up, with pip alone.
#
#   make PYTHON=/path/to/python3.12 test     chooses the interpreter of a new .venv
#   make PYTEST_ARGS='-k ledger' test        passes arguments to the test runner
#   make PYTEST_WORKERS=4 test               uses more than two processes

VENV := .venv
BIN := $(VENV)/bin
PYTEST_WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test check bench chaos docs format clean

help:  ## show this table
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.ready  ## run a whole night in about a minute: no key, no network, a real kill -9
	@$(BIN)/tildawn demo

test: $(VENV)/.ready  ## run every test except the long campaigns
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

check: $(VENV)/.ready  ## lint, format, types, architecture, documentation
	@failed=; \
	step() { label=$$1; shift; echo "== $$label"; "$$@" || failed="$$failed $$label"; }; \
	step 'lint' $(BIN)/ruff check .; \
	step 'format' $(BIN)/ruff format --check .; \
	step 'types' $(BIN)/basedpyright; \
	step 'architecture' $(BIN)/lint-imports --no-logo; \
	step 'documentation' $(BIN)/sphinx-build -q -W --keep-going -n -b html docs build/docs; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

bench: $(VENV)-bench/.ready  ## measure, side by side with others; writes benchmarks/results
	@$(VENV)-bench/bin/python -m benchmarks $(BENCH_ARGS)

chaos: $(VENV)/.ready  ## the long campaigns: thousands of kills, hours of virtual nights
	@HYPOTHESIS_PROFILE=chaos $(BIN)/python -m pytest -m chaos --timeout=14400 -o faulthandler_timeout=0 tests $(PYTEST_ARGS)

docs: $(VENV)/.ready  ## build the documentation into build/docs
	@$(BIN)/sphinx-build -W -n -b html docs build/docs
	@echo 'open build/docs/index.html'

format: $(VENV)/.ready  ## put the sources into the house's shape
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean:  ## remove what the other targets made, the environment too
	rm -rf $(VENV) $(VENV)-bench build .pytest_cache .ruff_cache .hypothesis .coverage

$(VENV)/.ready: pyproject.toml scripts/set-up
	@sh scripts/set-up $(VENV) dev
	@touch $@

# The others bring their own trees of packages; they live apart from what we test with.
$(VENV)-bench/.ready: pyproject.toml scripts/set-up
	@sh scripts/set-up $(VENV)-bench bench
	@touch $@
