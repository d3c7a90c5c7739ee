# One virtual environment, .venv, filled by the versions in constraints.txt. `make help` lists the targets.
#
#   PYTHON=python3.12       the interpreter to build .venv with (else the first of python3, 3.11 .. 3.14 that is new enough)
#   TORCH_INDEX=URL         look for PyTorch here too, for example https://download.pytorch.org/whl/cpu
#   ARGS="-k elbo -x"       passed on to pytest, to the benchmarks or to the demo
#
# Works with GNU make 3.81 (macOS) and in folders whose names have spaces: every path below is relative.

.NOTPARALLEL:               # two pips in one environment would trip over each other
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo setup test test-slow bench lint format docs clean

PYTHON ?=
TORCH_INDEX ?=
ARGS ?=
WORKERS ?= 2

BIN := .venv/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
# One thread a worker: torch's own threads on top of pytest's workers would only wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS)

help:
	@echo "make demo       set up .venv, train a small model, write figures and an evaluation"
	@echo "make test       the tests (WORKERS=2)"
	@echo "make test-slow  the tests that take minutes"
	@echo "make bench      speed beside a bare loop and beside other libraries"
	@echo "make lint       ruff, ruff format --check, pyright, lint-imports"
	@echo "make format     let ruff repair what it can"
	@echo "make docs       the documentation into site/, warnings as errors"
	@echo "make setup      only .venv, with everything the targets above need but the benchmarks"
	@echo "make clean      delete caches and site/ (not .venv)"

demo: .venv/.stamp-base
	$(PY) examples/demo.py $(ARGS)

setup: .venv/.stamp-test .venv/.stamp-lint .venv/.stamp-docs

test: .venv/.stamp-test
	$(PYTEST) $(ARGS)

test-slow: .venv/.stamp-test .venv/.stamp-ray
	$(PYTEST) -m slow $(ARGS)

bench: .venv/.stamp-bench
	$(PY) -m benchmarks --out docs/benchmarks.md $(ARGS)

lint: .venv/.stamp-lint
	@status=0; for check in "ruff check ." "ruff format --check ." pyright; do \
	    echo "$$check"; $(PY) -m $$check || status=1; \
	done; \
	echo lint-imports; $(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()" --no-cache --no-logo \
	    || status=1; \
	exit $$status

format: .venv/.stamp-lint
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: .venv/.stamp-docs
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

clean:
	rm -rf site build dist .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp says which extras are in .venv; it is made anew when the pinned versions, the metadata or the interpreter change.
.venv/.stamp-base: pyproject.toml constraints.txt $(PY)
	@echo "Installing polyvae into .venv (PyTorch is large: a few minutes the first time)"
	@$(PIP) install $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") -c constraints.txt "torch==$(TORCH)"
	@$(PIP) install -c constraints.txt -e .
	@touch $@

.venv/.stamp-test .venv/.stamp-ray .venv/.stamp-lint .venv/.stamp-docs .venv/.stamp-bench: .venv/.stamp-%: .venv/.stamp-base
	@echo "Installing polyvae[$*] into .venv"
	@$(PIP) install -c constraints.txt -e '.[$*]'
	@touch $@

# The pinned version alone comes first: asked for as a range, pip would pass over a CPU build that the machine offers.
TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)

$(PY):
	@for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.11 python3.12 python3.13 python3.14); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	    "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || { \
	        echo "$$python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	    echo "Making .venv with $$("$$python" --version)"; \
	    "$$python" -m venv --clear .venv; exit; \
	done; \
	echo "polyvae's pinned versions need Python 3.11 or newer; found: $$("$(or $(PYTHON),python3)" --version 2>&1 || true)." >&2; \
	echo "Install one and run again with PYTHON=/path/to/python3" >&2; exit 1
