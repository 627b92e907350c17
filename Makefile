# Two commands are all it takes on a fresh machine with Python 3.11 or later:
#
#   make demo    set everything up and run the quickstart notebook
#   make test    install what the tests need (as root on Debian or Ubuntu), lint, type-check, test
#
# Then: make lab (JupyterLab), make docs (the documentation), make bench (benchmarks), make lint,
# make clean.
# PYTHON=/path/to/python chooses the interpreter, VENV=/path another place for the environment.

VENV ?= .venv
JOBS ?= $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTEST_OPTIONS ?=
LAB_OPTIONS ?=

# The first Python that is new enough and can make virtual environments.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
		>/dev/null 2>&1; then echo $$python; break; fi; done)

# Hundreds of tests, and every lesson, start a Python: what it has compiled is kept, whatever the
# environment says, or each would compile everything anew.
export PYTHONDONTWRITEBYTECODE =

BIN := $(VENV)/bin
READY := $(VENV)/.nbdock-ready

.DEFAULT_GOAL := help
.PHONY: help demo test lab docs lint packages picture bench clean components venv
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n '1,8p'

venv: $(READY)

# Made anew when what is to be installed, or the code's packaging, changes: JupyterLab reads its
# extension where it is installed, which even for an editable project is a copy.
$(READY): pyproject.toml $(wildcard nbdock/notebook/labextension/* nbdock/notebook/labextension/*/*)
	@if [ -z "$(PYTHON)" ]; then \
		echo "nbdock needs Python 3.11 or later with its venv module, and found none." >&2; \
		echo "On Debian or Ubuntu: apt-get install python3 python3-venv." >&2; \
		echo "Elsewhere: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else \
		f"nbdock needs Python 3.11 or later; {sys.executable} is {v.major}.{v.minor}. " \
		"Choose another with: make PYTHON=/path/to/python3.11")'
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) lacks the venv module (on Debian or Ubuntu: apt-get install python3-venv)." >&2; \
		exit 1; }
	@echo "Setting up $(VENV) with $$("$(PYTHON)" --version) (a minute or two) ..."
	@[ -x "$(BIN)/python" ] || "$(PYTHON)" -m venv "$(VENV)"
	@# A new pip takes two thirds of the time of the one that comes with Python 3.11; and most of
	@# what it would compile is never imported.
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --upgrade pip || true
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-compile \
		--editable '.[widgets,vm,docs,dev]'
	@touch $@

demo: $(READY)
	@"$(BIN)/python" notebooks/run.py notebooks/00-quickstart.ipynb --directory demo

lab: $(READY)
	@# Pictures in outputs are shown in notebooks that one has run or trusts.
	@"$(BIN)/jupyter-trust" notebooks/*.ipynb >/dev/null
	@"$(BIN)/jupyter-lab" --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks/00-quickstart.ipynb \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_OPTIONS)

docs: $(READY)
	@"$(BIN)/python" -m sphinx --jobs $(JOBS) --fail-on-warning --keep-going --quiet \
		docs docs/_build/html
	@echo "docs/_build/html/index.html"

lint: $(READY)
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/mypy"
	@"$(BIN)/lint-imports"

components:
	@tests/install_components.sh

test:
	@$(MAKE) --no-print-directory --jobs 2 venv components
	@$(MAKE) --no-print-directory lint
	@# Who has run out of tests takes over some of the others'.
	@"$(BIN)/python" -m pytest -n $(JOBS) --dist worksteal $(PYTEST_OPTIONS)

packages: $(READY)
	@"$(BIN)/python" .ci/check_packages.py

picture: $(READY)
	@"$(BIN)/python" docs/pictures.py

bench: $(READY)
	@"$(BIN)/python" benchmarks/run.py

clean:
	rm -rf "$(VENV)" demo bench docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.import_linter_cache dist
	find nbdock tests benchmarks notebooks -name __pycache__ -type d -prune -exec rm -rf {} +
