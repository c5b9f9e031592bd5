# Everything bootstraps itself from Python >= 3.11: the virtual environment, uv, the locked dependencies.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: up down test check fmt lock clean

up: $(VENV)/.runtime
	@$(BIN)/runbell up

down: $(VENV)/.runtime
	@$(BIN)/runbell down

test: $(VENV)/.dev
	@$(BIN)/python -m tests

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(BIN)/basedpyright
	@$(BIN)/pytest -q -n 2 tests/unit tests/contract

fmt: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/.uv
	cd requirements && for name in uv runtime dev; do \
	  ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links $$name.in --output-file $$name.txt || exit 1; done

$(VENV)/.uv: requirements/uv.txt
	@echo "· preparing $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Runbell needs Python 3.11 or newer; run: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
	@touch $@

$(VENV)/.runtime: $(VENV)/.uv requirements/runtime.txt pyproject.toml
	@echo "· installing the locked packages (a few minutes the first time)"
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --requirement requirements/runtime.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo "· installing the test tools"
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --requirement requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV)
