# make help lists what there is. Every target installs what it needs into .venv by itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test check bench clean

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
CONFIG ?= configs/train/quick.yaml

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(STAMP) ## Import a recording, train, distil, compare with every rule, report (about 5 minutes)
	@$(BIN)/cma-gym run $(CONFIG)

test: $(STAMP) ## Run all tests
	@$(BIN)/python -m pytest

check: $(STAMP) ## Lint and type-check
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(STAMP) ## Measure speed; writes benchmarks/results.json
	@$(BIN)/python -m benchmarks

clean: ## Remove .venv and everything built; runs/ is kept
	@rm -rf .venv build dist *.egg-info .ruff_cache .mypy_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One line that changes while pip works; the whole log only if it fails.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into .venv (a minute or two; the log is .venv/install.log)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
	    -c constraints.txt -e '.[train,plot,trace,dev]' 2>&1 | tee .venv/install.log \
	    | awk 'BEGIN { cr = system("test -t 1") == 0 ? "\r\033[K" : "" } \
	           /^(Collecting|Building|Installing|Successfully)/ { if (cr) printf "%s  %.70s", cr, $$0; fflush() } \
	           END { if (cr) printf "%s", cr }' \
	    || { tail -n 20 .venv/install.log; echo "Installation failed; see .venv/install.log" >&2; exit 1; }
	@touch $@
