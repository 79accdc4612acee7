# Everything a checkout can do. Each target makes what it needs, from nothing, with plain pip.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# What `make reproduce` runs. FOLDS="--fold 0 --fold 1" shortens it.
FUSIONS := sage:modality sage:paper sage:rescaled tcn concat late ridge
FOLDS   :=

.PHONY: help reproduce test lint bench clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[offline,dev]'
	@touch $@

reproduce: $(READY)  ## both stages on the demo corpus, all folds: CCC table and report.html
	$(BIN)/vaest extract
	$(BIN)/vaest fit $(FUSIONS:%=--fusion %) $(FOLDS)
	$(BIN)/vaest fit --modality visual $(FOLDS)
	$(BIN)/vaest fit --modality audio $(FOLDS)
	$(BIN)/vaest fit --modality text $(FOLDS)
	$(BIN)/vaest report

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

lint: $(READY)  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## measured ratios of the feature cache
	$(BIN)/python tests/benchmarks/read_clips.py

clean:  ## remove what the other targets made; the demo corpus stays in the user's cache folder
	rm -rf $(VENV) cache runs report.html build dist
