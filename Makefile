# Everything a new machine needs is Python >= 3.11 and make. PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
USER = $(VENV)/.installed-for-use
STAMP = $(VENV)/.installed

.PHONY: demo quick test slow mjx check format lint types clean

demo: $(USER)
	@echo "five agents learn to swing up a pendulum"
	$(BIN)/polyak train ddpg Pendulum-v1 --seeds 5 --out runs/demo --force
	$(BIN)/polyak watch runs/demo --record runs/demo/agent.gif --episodes 3
	@echo "learning curve: runs/demo/curve.png   the best agent: runs/demo/agent.gif"

# format, lint and the fast tests of what everything else stands on: under 30 seconds on two cores
QUICK = tests/test_layers.py tests/test_fields.py tests/test_tree.py tests/test_types.py tests/test_errors.py \
	tests/numerics tests/replay tests/networks tests/envs/test_spaces.py tests/envs/test_answers.py \
	tests/algorithms/test_find.py tests/training/test_plan.py tests/training/test_schedule.py \
	tests/runs/test_scores.py tests/runs/test_tables.py tests/cli/test_flags.py
NOT_QUICK = tests/networks/test_net_styles.py tests/numerics/test_keys.py tests/numerics/test_draws.py

quick: $(STAMP) format lint
	$(BIN)/python -m pytest -n 2 -m "not slow" $(QUICK) $(NOT_QUICK:%=--ignore=%)

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not slow"

slow: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadgroup -m slow

# not in check: MuJoCo Playground brings a gigabyte of packages
mjx: $(VENV)-mjx/.installed
	$(VENV)-mjx/bin/python -m pytest tests/envs/test_mjx.py

$(VENV)-mjx/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-mjx
	$(VENV)-mjx/bin/python -m pip install --quiet --disable-pip-version-check -e ".[dev,mjx]"
	touch $@

check: $(STAMP) format lint types test slow

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

$(USER): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("polyak needs Python 3.11 or newer; choose one: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing polyak into $(VENV): about 800 MB"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(STAMP): $(USER)
	@echo "installing the development tools too"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,mujoco]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-mjx .mypy_cache .pytest_cache .ruff_cache build *.egg-info
