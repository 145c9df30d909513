# Every target calls tools that can be run by hand from the folder .venv/bin.
SHELL := /bin/bash
PYTHON ?= python3
PORT ?= 8000
PYTEST_ARGS ?=

# The tools of .venv come first: its Python, and its node (from a wheel), on every machine alike.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup book serve lab test check outcomes experiments benchmarks mutants colab-branch picture lock clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

setup: .venv/installed node_modules/installed  ## install what the book needs, into .venv and node_modules

book: setup  ## execute the notebooks and build the site in _build/html
	@python book/tools/build.py

serve: book  ## show the site on localhost
	@echo "==> http://localhost:$(PORT)/ (Ctrl-C stops it)"
	@python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

lab: setup  ## open the notebooks in JupyterLab
	jupyter lab notebooks

test: book check  ## build the book, then run every check, a browser included
	@CHROMIUM=$$(python book/tools/chromium.py) && export CHROMIUM && \
	echo "==> Running the tests" && python -m pytest -n auto --dist loadgroup --durations 15 $(PYTEST_ARGS)

check: setup  ## run the linter, the formatter's check and the type checker
	ruff check .
	ruff format --check .
	mypy

outcomes: setup  ## run the tests that statements name, where code has changed, and store the results
	python book/tools/outcomes.py -n auto --dist loadgroup

experiments: setup  ## run every experiment again (slow) and store its results
	python -m experiments run

benchmarks: setup  ## measure the compiled figures and the estimators, and print tables
	python lib/benchmarks/compiler.py
	CHROMIUM=$$(python book/tools/chromium.py) && python lib/benchmarks/redraw.py --chromium "$$CHROMIUM"
	python lib/benchmarks/meta_gradients.py
	python lib/benchmarks/stable.py

mutants: setup  ## break the estimators on purpose (an hour), and list what no test notices
	python lib/tests/mutants.py _build/mutants

colab-branch: book  ## write the branch of .ipynb files that Colab opens
	PYTHONPATH=book/extension python book/tools/colab.py

picture: book  ## take the picture in README.md again
	python book/tools/picture.py

lock: setup  ## compile the dependencies of pyproject.toml into requirements.txt and package-lock.json
	python -m pip install --quiet uv
	uv pip compile --quiet --universal --all-extras --python-version 3.11 \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	  --output-file requirements.txt pyproject.toml
	npm install --package-lock-only --no-audit --no-fund

clean:  ## remove what was built and cached
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean  ## also remove what was installed
	rm -rf .venv .venv-peers node_modules

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || { \
	  echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "==> Making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/installed: requirements.txt pyproject.toml | .venv/bin/python
	@echo "==> Installing the pinned Python packages into .venv (a few minutes the first time)"
	@python -m pip install --quiet --requirement requirements.txt
	@python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

node_modules/installed: package.json package-lock.json .venv/installed
	@echo "==> Installing the pinned npm packages into node_modules"
	@npm ci --silent --no-audit --no-fund
	@touch $@
