# Needs Python 3.11 or newer, make and a package index. Everything else is put into .tools and .venv here.
PYTHON ?= python3
UV_VERSION := 0.13.9
UV := .tools/bin/uv
RUN := .venv/bin/
export UV_PYTHON_DOWNLOADS = never

.DEFAULT_GOAL := help
.PHONY: help demo test check bench flat profile openapi format clean

help: ## Say what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

demo: .venv/ready ## Real purchases, real PostgreSQL: load, report, serve
	$(RUN)loyalty demo $(DEMO)

test: .venv/ready ## All tests, on a real PostgreSQL
	$(RUN)pytest -n 2

check: .venv/ready ## Layout, types, style, and the committed OpenAPI document
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports
	$(RUN)loyalty openapi | diff -u openapi/openapi.json - || { echo "openapi/openapi.json is out of date: make openapi"; exit 1; }

bench: .venv/ready ## Against the limit and a hand-written baseline (QUICK=1: 3 minutes; ORDERS=200000: memory only)
	$(RUN)python -m benchmarks $(if $(QUICK),--quick) $(if $(ORDERS),--orders $(ORDERS))

profile: .venv/ready ## Where each microsecond of an order goes (OPERATION=quote: of a quote; CLIENTS=32: of groups)
	$(RUN)python -m benchmarks.profile "$(or $(OPERATION),order)" $(CLIENTS)

flat: .venv/ready ## What an order costs in a program of 5 million members (40 GB; HOME_FOLDER=…, LARGE=20000: less)
	$(RUN)python -m benchmarks.flat $(if $(HOME_FOLDER),--home $(HOME_FOLDER)) $(if $(LARGE),--large $(LARGE))

openapi: .venv/ready ## Write the OpenAPI document anew
	$(RUN)loyalty openapi > openapi/openapi.json.new && mv openapi/openapi.json.new openapi/openapi.json

format: .venv/ready ## Put everything into shape
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

clean: ## Remove the environments (the demonstration's data stays in .loyalty)
	rm -rf .venv .tools

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --frozen --all-extras --python $(PYTHON)
	@touch $@
