# Everything a user needs: `make quickstart`, `make test`. Both make .venv and install into it.

PYTHON ?= python3
WORKERS ?= 2
PYTEST := .venv/bin/python -m pytest --numprocesses=$(WORKERS) --dist=loadfile

.PHONY: quickstart test test-parity test-gpu lint format docs notebooks clean

quickstart: .venv/.installed
	.venv/bin/python experiments/quickstart.py --workdir=runs/quickstart

test: .venv/.installed-test
	$(PYTEST) -m 'not parity'

test-parity: .venv/.installed-parity
	$(PYTEST) -m parity

# With '.[cuda]' in .venv.
test-gpu: .venv/.installed-test
	MAXENT_LM_TEST_PLATFORM=cuda,cpu .venv/bin/python -m pytest -m gpu

lint: .venv/.installed-test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/ty check

format: .venv/.installed-test
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

docs: .venv/.installed-docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

# Writes notebooks/*.ipynb anew from their sources, without outputs.
notebooks: .venv/.installed-test
	.venv/bin/jupytext --quiet --to notebook notebooks/*.py

clean:
	rm -rf .venv .cache site

.venv/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: Python >= 3.11 is needed; name one with make PYTHON=python3.11'; exit 1; }
	test -d .venv || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.installed-test: .venv/.installed
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

.venv/.installed-parity: .venv/.installed-test
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test,parity]'
	touch $@

.venv/.installed-docs: .venv/.installed
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	touch $@
