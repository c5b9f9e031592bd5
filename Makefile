# Everything bootstraps itself from Python >= 3.11: the virtual environment, uv, the locked dependencies.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help transformers up down status test check check-types check-tests fmt lock pictures schemas clean
.DEFAULT_GOAL := help

help:
	@echo "make up      set up and start everything; ends when it is ready to answer"
	@echo "make down    stop everything; nothing is lost"
	@echo "make status  show every process"
	@echo "make test    set up and run every test"
	@echo "make test-NAME  run the tests of your code location NAME"
	@echo "make transformers  add the engine for safetensors models, on CUDA or CPU (gigabytes)"
	@echo "make check   format, lint, types, import contracts, quick tests"

up: $(VENV)/.runtime
	@$(BIN)/runbell up

down: $(VENV)/.runtime
	@$(BIN)/runbell down

status: $(VENV)/.runtime
	@$(BIN)/runbell status

test: $(VENV)/.dev
	@$(BIN)/python -m tests

check: $(VENV)/.dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs=2 --output-sync check-types check-tests

check-types:
	@$(BIN)/basedpyright

# Where the environment forbids to keep bytecode, each of a hundred short processes would compile its modules anew.
check-tests:
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -q -n 2 tests/unit tests/contract

test-%: $(VENV)/.dev
	@$(BIN)/pytest -q $*

fmt: $(VENV)/.dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

pictures: $(VENV)/.dev
	@$(BIN)/python -m tests.pictures

schemas: $(VENV)/.dev
	@$(BIN)/python -m orchestration.flows > docs/workflow.schema.json

lock: $(VENV)/.uv
	cd requirements && for name in uv runtime dev transformers; do \
	  ../$(BIN)/uv pip compile --quiet --custom-compile-command "make lock" --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links $$name.in --output-file $$name.txt || exit 1; done
	@touch $(VENV)/.uv  # or the new date of uv.txt would clear the whole environment next time

$(VENV)/.uv: requirements/uv.txt requirements/bootstrap.sh
	@echo "· preparing $(VENV)"
	@requirements/bootstrap.sh "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.runtime: $(VENV)/.uv requirements/runtime.txt pyproject.toml
	@echo "· installing the locked packages (a few minutes the first time)"
	@$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes --requirement requirements/runtime.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Not part of `up` or `test`: torch alone brings gigabytes. With it, the tests of the engine are no longer skipped.
transformers: $(VENV)/.dev
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --requirement requirements/transformers.txt

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	@echo "· installing the test tools"
	@$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode --require-hashes --requirement requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV)
