# make setup      .venv with everything that the other targets need; the second call does nothing
# make reproduce  every study at the smoke preset, then the report and the table of claims
# make horovod    Horovod, built for the TensorFlow in .venv; the wheel is kept for the next time
# make test       every test, two files at a time; make test-fast leaves out what takes long
# make bench          times every network on this machine, a quarter of an hour or less
# make bench-ratios   the benchmarks that hold one program against another, Horovod's included
# make lint | report
PYTHON ?= python3
BIN := .venv/bin
RESULTS := results/latest
BENCHMARKS ?= results/latest/benchmarks.json
RATIOS ?= results/latest/ratios.json
# One process a core; the tests of a file stay together and share what they build.
TEST_PROCESSES ?= --numprocesses logical --dist loadfile --no-loadscope-reorder
HOROVOD_NEEDS := cloudpickle cmake packaging pip psutil pyyaml setuptools wheel

.PHONY: setup reproduce report horovod test test-fast browser bench bench-ratios lint
.DELETE_ON_ERROR:

setup: .setup-stamp

.setup-stamp: setup.cfg pyproject.toml constraints.txt
	@set -e; \
	if command -v uv >/dev/null 2>&1; then uv=uv; \
	    test -x $(BIN)/python || uv venv --quiet --python $(PYTHON) .venv; \
	else uv=$(BIN)/uv; \
	    test -x $(BIN)/python || $(PYTHON) -m venv .venv; \
	    test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	fi; \
	"$$uv" pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[cpu,fft,test,oracle,croissant]'
	@touch $@

reproduce: setup
	$(BIN)/repro reproduce --out $(RESULTS)

report: setup
	$(BIN)/repro report --out $(RESULTS)/report.html

horovod: .horovod-stamp

.horovod-stamp: .setup-stamp
	@command -v g++ >/dev/null 2>&1 \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null 2>&1 \
	     && apt-get update -qq && apt-get install -qq -y --no-install-recommends g++ make; } \
	     >/dev/null 2>&1 || true
	@uv=$$(command -v uv || echo $(BIN)/uv); \
	"$$uv" pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt $(HOROVOD_NEEDS)
	@$(BIN)/python -m repro.install.horovod_wheel
	@touch $@

# The report is tested in a browser; without one that test is skipped and says so.
browser:
	@command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null 2>&1 \
	     && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; } >/dev/null 2>&1 \
	|| echo "No chromium, and none could be installed: the browser test will be skipped." >&2

test: setup browser horovod
	$(BIN)/python -m pytest $(TEST_PROCESSES) $(PYTEST_ARGS)

# Without processes, browsers and trainings of more than a second or two.
test-fast: setup
	$(BIN)/python -m pytest $(TEST_PROCESSES) -m 'not slow' $(PYTEST_ARGS)

# Rows are added to the file BENCHMARKS; BENCH_ARGS='mamba --phase train' times a part.
bench: setup
	$(BIN)/repro bench $(BENCH_ARGS) --json $(BENCHMARKS)

# Ratios go to the file RATIOS, which a run of a part (PYTEST_ARGS='-k NAME') replaces too.
bench-ratios: setup horovod
	@set -e; raw=$$(mktemp); trap 'rm -f "$$raw"' EXIT; \
	$(BIN)/python -m pytest benchmarks --benchmark-json="$$raw" $(PYTEST_ARGS); \
	$(BIN)/python -m repro.bench.summary "$$raw" $(RATIOS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
