# Sluice: the commands.  Each sets up what it needs first; set-up runs once.
PYTHON ?= python3
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-quick test check lint format clean chaos bench backtest drift simulate mutants

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup:  ## Install everything into this checkout (.venv, .envs)
	@$(PYTHON) bootstrap.py

demo: setup  ## The whole loop in three acts: from data to forecasts, drift and a better model, a bad one rolled back
	@$(BIN)/python -m demo

demo-quick: setup  ## Act one of it: two weeks of data, from landed to forecast
	@$(BIN)/python -m demo --quick

test: setup  ## Every test, the fast ones first
	@$(BIN)/python -m pytest

lint: setup  ## Style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: lint test  ## What the build runs: lint and test

simulate: setup  ## Every promise under seeded faults, on virtual time (SEEDS=1000, FIRST=0)
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) --first $(or $(FIRST),0)

mutants: setup  ## Planted faults: the simulation must notice each (SEEDS=200)
	@$(BIN)/python -m tests.simulation --mutants $(or $(SEEDS),200)

chaos: setup  ## Kill hosts, stop storage, lose answers; then compare the records (KILLS=200)
	@$(BIN)/python -m chaos $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

bench: setup  ## How fast, and what it costs, beside raw inserts, Restate, DBOS and Prefect
	@$(BIN)/python -m benchmarks

backtest: setup  ## Four past weeks by the rules of the Battle of Water Demand Forecasting
	@$(BIN)/python -m benchmarks.backtest

drift: setup  ## What the drift detector alarms for and finds, and what a retrain mends
	@$(BIN)/python -m benchmarks.drift
	@$(BIN)/python -m benchmarks.retraining

format: setup  ## Put the style right
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

clean:  ## Remove all that was installed or made here
	@for cloud in .local/*/cloud.json; do \
	  [ ! -e "$$cloud" ] || [ ! -x $(BIN)/python ] || \
	  $(BIN)/python -m localcloud down --name "$$(basename "$$(dirname "$$cloud")")"; \
	done
	@rm -rf .venv .envs .local .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
