# Two commands do all the set-up: `make demo` runs the main job, `make test` runs the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
DEMO := build/demo

.PHONY: demo test test-full check benchmark clean

demo: $(VENV)/.installed  ## install, train on made houses and on digits, show the result and what to do next
	@mkdir -p $(DEMO)
	$(BIN)/neuronwise make-houses $(DEMO)/houses.csv --rows 5000 --seed 0
	$(BIN)/neuronwise train $(DEMO)/houses.csv --target price --name houses
	$(BIN)/neuronwise train digits --name digits
	$(BIN)/neuronwise show latest
	@echo
	@echo "Next: $(BIN)/neuronwise runs   $(BIN)/neuronwise encode $(DEMO)/houses.csv --row 17 --target price   $(BIN)/neuronwise --help"

test: check  ## install, check style and types, run the tests (under 12 minutes)
	$(BIN)/python -m pytest -n 2

test-full: check  ## also the tests that take long
	$(BIN)/python -m pytest -n 2 -m "full or not full"

check: $(VENV)/.developed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

benchmark: $(VENV)/.developed  ## measure speed and quality; reads mnist/ and housing/ from the folder NEURONWISE_DATA
	$(PIP) install --editable ".[benchmarks]" --constraint constraints.txt
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/mnist.py
	$(BIN)/python benchmarks/mnist_race.py
	$(BIN)/python benchmarks/houses.py
	$(BIN)/python benchmarks/large_data.py
	$(BIN)/python benchmarks/explaining.py
	$(BIN)/python benchmarks/recording.py
	$(BIN)/python benchmarks/mlflow_away.py
	$(BIN)/python benchmarks/watching.py
	$(BIN)/python benchmarks/inspector.py
	$(BIN)/python benchmarks/quote.py

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Neuronwise needs Python 3.11 or newer, this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@echo "Installing Neuronwise and what it needs into $(VENV) (a minute or two) ..."
	$(PIP) install --editable .
	@touch $@

$(VENV)/.developed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing Neuronwise and what its tests need into $(VENV) (a few minutes) ..."
	$(PIP) install --editable . --group dev --constraint constraints.txt
	@sh scripts/install_chromium.sh
	@touch $@ $(VENV)/.installed

clean:  ## remove what was built here (not your runs)
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
