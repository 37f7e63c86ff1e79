# Everything a checkout needs: `make demo` shows the main job, `make test` runs all tests, `make check` is what CI runs.
PYTHON ?= python3
BIN := .venv/bin
TORCH := 2.13.0
DEMO := examples/problems/level2/linear_gelu.py

.PHONY: demo test check build lint format types wheel clean

demo: build
	rm -rf runs/demo
	$(BIN)/metalgen generate $(DEMO) --out runs/demo

test: build
	$(BIN)/python -m pytest -n auto --dist worksteal

check: build lint types test

# The environment. A CPU build of torch is tried first: on Linux the plain one brings gigabytes of CUDA.
.venv/ready: pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet "torch==$(TORCH)+cpu" || $(BIN)/pip install --quiet "torch==$(TORCH)"
	$(BIN)/pip install --quiet "scikit-build-core>=0.11" "pybind11>=2.13" ninja \
	  "llvmlite>=0.50,<0.51" "ziglang>=0.17,<0.18"
	command -v cmake >/dev/null || $(BIN)/pip install --quiet cmake
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[dev]"
	touch $@

# Editable: Python changes count at once, C++ and new files after the next `make`.
build: .venv/ready
	$(BIN)/pip install --quiet --no-build-isolation --no-deps --editable .

lint: .venv/ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: .venv/ready
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: .venv/ready
	$(BIN)/mypy

wheel: .venv/ready
	$(BIN)/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

clean:
	rm -rf build dist runs .venv
