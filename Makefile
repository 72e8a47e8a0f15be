# make demo: install, ingest the sample handbook, ask it three questions.   make test: install, run every test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
VOCABULARY := .cache/ggml-vocab-llama-spm.gguf

.PHONY: demo test check gate clean

demo: $(VENV)/installed-demo
	$(BIN)/rag demo

test: $(VENV)/installed-dev $(VOCABULARY)
	$(BIN)/python -m pytest

check: $(VENV)/installed-dev
	bash .ci/check

$(VENV)/pip: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade --constraint constraints.txt pip
	touch $@

$(VENV)/installed-demo: $(VENV)/pip pyproject.toml
	@echo "Installing; llama.cpp is compiled, which takes some minutes."
	$(PIP) install --quiet --constraint constraints.txt --editable '.[demo]'
	touch $@

$(VENV)/installed-dev: $(VENV)/installed-demo
	$(PIP) install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch $@

$(VOCABULARY): $(VENV)/installed-dev
	$(BIN)/python tests/fetch_vocab.py

gate: $(VENV)/installed-dev
	rm -rf .cache/gate-index
	$(BIN)/rag ingest data/corpus --index .cache/gate-index
	$(BIN)/rag eval run data/eval/ci.toml --index .cache/gate-index --gate data/eval/gate.toml --out reports/gate

clean:
	rm -rf $(VENV) .cache .rag
