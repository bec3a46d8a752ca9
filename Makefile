# Every target makes its own virtual environment first if there is none; nothing but Python and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
FRAMES ?= 100000

.PHONY: run test check bench bench-cluster chaos fuzz sim-cluster sim-raft sim-storage clean venv

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

run: venv  ## start one broker on 127.0.0.1:9092 (make run ARGS="--port 0")
	$(BIN)/blumfeld up --own-foreground $(ARGS)

test: venv  ## run all tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: venv  ## ruff, mypy --strict, import contracts, sizes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/style

fuzz: venv  ## mutated frames against a broker process, and a tenth against a controller (make fuzz FRAMES=100000 ARGS="--seed 1")
	$(BIN)/python -m tests.sim.fuzz --frames $(FRAMES) $(ARGS)

bench: venv  ## benchmarks beside Apache Kafka (needs Java and Maven for the peer)
	$(BIN)/python -m bench $(ARGS)

SEEDS ?= 1000

sim-raft: venv  ## the raft core under simulated faults (make sim-raft SEEDS=10000)
	$(BIN)/python -m tests.sim.raft --seeds $(SEEDS) $(ARGS)

sim-storage: venv  ## one log on a disk that forgets (make sim-storage SEEDS=10000)
	$(BIN)/python -m tests.sim.storage --seeds $(SEEDS) --workers $(WORKERS) $(ARGS)

sim-cluster: venv  ## controller, replicas and logs under simulated faults (make sim-cluster SEEDS=10000)
	$(BIN)/python -m tests.sim.cluster --seeds $(SEEDS) $(ARGS)

SECONDS ?= 180

chaos: venv  ## three brokers killed, paused, cut off under load (make chaos SECONDS=180 ARGS="--seed 7")
	$(BIN)/python -m tests.crash.chaos --seconds $(SECONDS) $(ARGS)

bench-cluster: venv  ## three nodes beside Apache Kafka's three: start, throughput, latency, failover
	$(BIN)/python -m bench.cluster $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
