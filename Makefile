# Every target does its own set-up. Name another Python with `make setup PYTHON=python3.12`.
SHELL := /bin/bash
PYTHON ?= $(shell .venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null || echo python3)
PYTEST_ARGUMENTS ?=
ARGUMENTS ?=

.PHONY: setup demo test lint clean

setup:
	@"$(PYTHON)" tools/set_up.py

demo: setup
	@.venv/bin/robofume demo $(ARGUMENTS)

test: setup
	@tools/in_workspace python -m pytest $(PYTEST_ARGUMENTS)

lint: setup
	@tools/in_workspace ruff check .
	@tools/in_workspace mypy

clean:
	@"$(PYTHON)" tools/set_up.py --clean
