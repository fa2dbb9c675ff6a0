# What one does with perfkit, one target each. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first of these that really runs and is new enough: a version manager may have names on the path that fail.
ifndef PYTHON
PYTHON := $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo "$$python" && break; \
	done)
endif
PYTHON_VERSION := $(shell '$(PYTHON)' -c 'import sys; print("{}.{}.{}".format(*sys.version_info))' 2> /dev/null)

BIN := .venv/bin
STAMP := .venv/made-with-$(PYTHON_VERSION)
UV := .venv-uv/bin/uv
PORT ?= 8000
ROOM ?= bulk
SOAK_SECONDS ?= 60
LOAD_SECONDS ?= 30
ARGS ?=
MATRIX ?= smoke
PYTEST_ARGS ?=
# One worker more than there are cores, for many tests wait; four at most.
WORKERS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN || echo 1); echo $$((cores < 4 ? cores + 1 : 4)))

# Checks that only load the settings need no server.
WITHOUT_SERVERS := env -u DATABASE_URL -u REDIS_URL PERFKIT_DB=sqlite DJANGO_SETTINGS_MODULE=tests.settings

.PHONY: help demo serve stop test test-sqlite soak load walks matrix check bench docs lock clean
.DELETE_ON_ERROR:

help:  ## List what can be made
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: $(STAMP)  ## Start servers, load a year of real flights, and measure before and after
	$(BIN)/python -m project.services start
	$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/python manage.py load_flights
	$(BIN)/python manage.py warm_cache
	$(BIN)/python manage.py demo

serve: $(STAMP)  ## Run the site on port 8000 (or PORT=)
	$(BIN)/python -m project.services start
	$(BIN)/python manage.py migrate --verbosity 0
	$(BIN)/python manage.py demo_user
	DJANGO_DEBUG=true $(BIN)/python manage.py runserver $(PORT)

stop:  ## Stop the servers
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m project.services stop; else echo "Nothing was made yet."; fi

test: $(STAMP)  ## Run all tests on PostgreSQL and Valkey
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

test-sqlite: $(STAMP)  ## Run the tests on SQLite, without any server
	env -u DATABASE_URL -u REDIS_URL PERFKIT_DB=sqlite $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

soak: $(STAMP)  ## Read and write while processes and servers are killed, and check every read (SOAK_SECONDS=60)
	$(BIN)/python -m tests.soak --seconds $(SOAK_SECONDS) $(ARGS)

load: $(STAMP) .venv-load/bin/locust  ## Load the demo with 100 users under three servers (ARGS="--outages" kills its servers, "--compare" turns the cache off)
	$(BIN)/python -m tests.load --locust '$(abspath .venv-load/bin/locust)' --seconds $(LOAD_SECONDS) $(ARGS)

walks: $(STAMP)  ## Walk all flights by cursor in each order, while rows are written (after load; ARGS="--order number")
	PERFKIT_SERVICES=load $(BIN)/python -m project.services start
	$(BIN)/python -m tests.load.walks $(ARGS)

matrix: $(UV)  ## Run the tests on each supported Python and Django (MATRIX=full: on all pairs)
	.ci/matrix '$(abspath $(UV))' '$(MATRIX)' '$(WORKERS)'

check: $(STAMP)  ## Format, lint, types, layers, spelling, documentation, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(WITHOUT_SERVERS) $(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(WITHOUT_SERVERS) $(BIN)/python manage.py makemigrations --check --dry-run
	$(WITHOUT_SERVERS) $(BIN)/python manage.py check --fail-level WARNING
	$(WITHOUT_SERVERS) $(BIN)/python -m pytest -q tests/test_compose.py tests/docs
	$(WITHOUT_SERVERS) $(BIN)/python -m sphinx -W --keep-going -q docs docs/_build

bench: $(STAMP)  ## Measure one room against its peers (ROOM=bulk ARGS="--quick --check")
	$(BIN)/python -m benchmarks.run $(ROOM) $(ARGS)

docs: $(STAMP)  ## Build the documentation into docs/_build
	$(WITHOUT_SERVERS) $(BIN)/python -m sphinx -W --keep-going docs docs/_build
	@echo "Open docs/_build/index.html"

lock: $(UV)  ## Bring requirements-dev.txt up to pyproject.toml (ARGS=--upgrade for newer versions)
	$(UV) pip compile --universal --python-version 3.11 --extra all --group dev --no-header --no-annotate \
		$(ARGS) pyproject.toml -o requirements-dev.txt

clean:  ## Stop the servers and remove all that was made here
	@if [ -x $(BIN)/python ]; then \
		for folder in .local/*/; do \
			if [ -e "$$folder/lock" ]; then PERFKIT_SERVICES="$$(basename "$$folder")" $(BIN)/python -m project.services remove; fi; \
		done; \
	fi
	rm -rf .venv .venv-* .local .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist docs/_build staticfiles .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when the requirements or the Python change; a half-made one has no stamp and is made again.
$(STAMP): requirements-dev.txt
	@.ci/python-check '$(PYTHON)'
	@echo "Making .venv with Python $(PYTHON_VERSION): a minute or two, once."
	'$(PYTHON)' -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --use-pep517 -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch '$@'

# Of its own: Locust brings gevent, which patches Python's sockets, and half a web framework.
.venv-load/bin/locust:
	@.ci/python-check '$(PYTHON)'
	'$(PYTHON)' -m venv --clear .venv-load
	.venv-load/bin/python -m pip install --quiet --disable-pip-version-check 'locust>=2.40,<3'

$(UV):
	@.ci/python-check '$(PYTHON)'
	'$(PYTHON)' -m venv --clear .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
