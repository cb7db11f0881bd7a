# Everything a person types. Each target does the set-up it needs.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	$$python -c "$(FITS)" 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
STUDIES := demo $(wildcard studies/*)
export PATH := $(BIN):$(PATH)
export OMP_NUM_THREADS ?= 1

.PHONY: help setup estimate converged study sources demo test test-all check repro bench sync plots-page clean-checkpoints fuzz mutants faults
.DEFAULT_GOAL := help

help:  ## Show this list.
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 20

$(STAMP): requirements.txt pyproject.toml
	@$(or $(PYTHON),false) -c "$(FITS)" || { echo "mtcil needs Python 3.11, 3.12 or 3.13;" \
		"$(or $(PYTHON),python3) is not one of these. Install one, or name it:" \
		"make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.txt
	touch $@

setup: $(STAMP)  ## Make the virtual environment with the pinned packages.

demo: $(STAMP)  ## A first result from synthesized words (about a minute on two cores, no network).
	$(BIN)/dvc repro demo/dvc.yaml
	@cd demo && PYTHONPATH=../src $(BIN)/python ../pipeline/_show.py
	@git status --porcelain demo | wc -l | awk '$$1 > 0 {print "\n" $$1 " files of demo/ differ " \
		"from those in git: the last bits of floating-point results differ on CPUs without AVX2 and on" \
		"\nother systems than Linux (RESULTS.md). This restores them: git checkout -- demo"}'
	@echo "\nPage:   demo/report.html\nFigure: demo/plots/gain.png"
	@echo "Next:   . $(VENV)/bin/activate && cd demo && dvc exp run -S exemplars=200"

PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(STAMP)  ## The fast tests (about three minutes on two cores).
	$(PYTEST) -m "not slow"

test-all: $(STAMP)  ## All tests (about ten minutes on two cores).
	$(PYTEST)

check: $(STAMP)  ## Format, lint, types, layers and the fast tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) -m "not slow"

STUDY ?= .

estimate: $(STAMP)  ## Runs, updates, hours and memory of STUDY=studies/ten_words, before it starts.
	cd $(STUDY) && PYTHONPATH="$(CURDIR)/src" $(BIN)/python "$(CURDIR)/pipeline/_estimate.py"

converged: $(STAMP)  ## Whether STUDY=studies/ten_words trains long enough: its validation accuracy with half and twice the updates.
	cd $(STUDY) && PYTHONPATH="$(CURDIR)/src" $(BIN)/python "$(CURDIR)/pipeline/_converged.py"

study: $(STAMP)  ## A study of your own audio: NAME=birds AUDIO=path, and GROUP='^([^_]+)_' if files name speakers.
	@PYTHONPATH="$(CURDIR)/src" $(BIN)/python pipeline/_new_study.py "$$NAME" "$$AUDIO" "$$GROUP"

sources: $(STAMP)  ## List the audio of STUDY=studies/birds again, after a change.
	@cd $(STUDY) && PYTHONPATH="$(CURDIR)/src" $(BIN)/python "$(CURDIR)/pipeline/_list_sources.py"

EXTRA_VENV := .venv-extra
FUZZ_TARGETS := archive_bytes clip_bytes params_text records_text
FUZZ_SECONDS ?= 300

$(EXTRA_VENV)/.installed: fuzz/requirements.txt
	$(PYTHON) -m venv $(EXTRA_VENV)
	$(EXTRA_VENV)/bin/pip install --quiet --requirement fuzz/requirements.txt
	touch $@

fuzz: $(STAMP) $(EXTRA_VENV)/.installed  ## Look for input that breaks the readers, FUZZ_SECONDS=300 for each of them.
	for target in $(FUZZ_TARGETS); do \
		PYTHONPATH="src:$$(echo $(VENV)/lib/python*/site-packages)" \
		$(EXTRA_VENV)/bin/python -W ignore fuzz/run.py $$target $(FUZZ_SECONDS) || exit 1; done

mutants: $(STAMP) $(EXTRA_VENV)/.installed  ## Change the scientific core, a piece at a time, and count what no test notices (30 minutes).
	rm -rf mutants
	mkdir -p mutants/demo mutants/studies/development
	export PYTHONPATH="$$(echo $(CURDIR)/$(VENV)/lib/python*/site-packages)" && \
	$(EXTRA_VENV)/bin/python -m mutmut run && \
	$(EXTRA_VENV)/bin/python -m mutmut results --all true | sed 's/.*: //' | sort | uniq -c

KILLS ?= 147

faults: $(STAMP)  ## Kill stages at KILLS=147 random moments; nothing may be lost or left (15 minutes).
	$(BIN)/python tests/kills.py $(KILLS)

repro: $(STAMP)  ## The paper's study on the real datasets (downloads about 8 GB).
	$(BIN)/dvc repro

bench: $(STAMP)  ## All benchmarks into benchmarks/RESULTS.md; ARCHIVES="speech_commands=... urbansound8k=..." for real audio.
	$(BIN)/python benchmarks/report.py $(ARCHIVES)

sync:  ## Copy the root's dvc.yaml into every study.
	for study in $(STUDIES); do cp dvc.yaml $$study/dvc.yaml; done

plots-page: $(STAMP)  ## Rebuild the page of `dvc plots`, after an upgrade of DVC (needs npm).
	$(BIN)/python .dvc/page/build.py

clean-checkpoints:  ## Remove finished runs that killed stages left outside the records.
	rm -f .checkpoints/*.json* $(addsuffix /.checkpoints/*.json*,$(STUDIES))
