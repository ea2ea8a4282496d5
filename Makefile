# make serve    set up if needed, then serve on $HOST:$PORT
# make test     set up if needed, then lint, type check and test; make check: without the tests
# make test-fast  the unit tests but the slow ones
# make test-long  what `make test` leaves out: trainings to the bit, the starters' recipes, replicas, killed processes, full disks
# make audit    dangerous code, licences; make advisories: known holes in what is installed (asks PyPI)
# make verify-gpu VERIFY="--random 2B"   prove this machine and a checkpoint (docs/gpu.md)
# make web      set up, build and run the Next.js app on $WEB_PORT, with a service of its own unless MUSIC_SERVICE_URL is set
# make test-web its checks and tests, in Chromium too; make test-firefox: its main ways in Firefox
# make python-client  the Python client: its generated files, and its wheel
# make typescript-client  its package, in build/typescript-client
# make demo     upload, train, generate with and without the twin, draw both

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 3000
WEB_PORT ?= 3001
export WEB_PORT
WEB := $(shell find web/app web/components web/i18n web/lib web/messages clients/typescript/src -type f ! -name schema.ts) web/next.config.ts web/proxy.ts web/tsconfig.json
BIN := .venv/bin
# Compiled at set-up, so that the first start does not do it.
PACKAGES := adapters api contract core generation models preprocessing runners storage training verification

export OMP_WAIT_POLICY ?= PASSIVE
# Every process of the tests would compile the modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup serve test test-fast test-long check audit advisories contract-fuzz test-browser web test-web test-firefox test-audiocraft test-ray benchmarks verify-gpu demo bento python-client typescript-client clean

setup: .venv/serve.ready

.venv/serve.ready: requirements/serve.txt requirements/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/serve.txt -c requirements/constraints.txt
	$(BIN)/python -m scripts.tiny_checkpoints
	$(BIN)/python -c 'from preprocessing.isolation import load_analysis; load_analysis()'
	$(BIN)/python -m compileall -q -j 0 $(PACKAGES) $(wildcard *.py) .venv/lib > /dev/null || true
	touch $@

.venv/test.ready: .venv/serve.ready requirements/test.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/test.txt -c requirements/constraints.txt
	touch $@

.venv/browser.ready: .venv/test.ready requirements/browser.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/browser.txt -c requirements/constraints.txt
	touch $@

serve: .venv/serve.ready
	@echo "Producer Twin will be on http://$(HOST):$(PORT) in some seconds. Try:"
	@echo "  curl -s http://$(HOST):$(PORT)/generate -H 'Content-Type: application/json' -H 'Accept: audio/wav' \\"
	@echo "    -d '{\"prompt\": \"808 trap beat, dark synth\", \"duration_seconds\": 10}' -o track.wav"
	@exec $(BIN)/bentoml serve service:ProducerTwin --host $(HOST) --port $(PORT)

check: .venv/test.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

# All tests of a file run in one process, where its fixtures are made once (tests/conftest.py). The processes of tests
# share the cores already, so that a thread for each core in every one of them would only wait for the others.
UNIT := OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit -n 3 --dist loadfile
INTEGRATION := OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/integration -n 2 --dist loadfile

# With AGAIN, what failed is run once more, alone, after the others.
tested = $(1) || { [ $$? -eq 1 ] && [ -n "$(AGAIN)" ] && $(1) -n 0 --last-failed; }

test: check
	$(call tested,$(UNIT) -m 'not long')
	$(call tested,$(INTEGRATION) -m 'not long')

test-long: .venv/test.ready
	$(UNIT) -m long
	$(INTEGRATION) -m long

test-fast: .venv/test.ready
	$(UNIT) -m 'not slow and not long'

test-browser: .venv/browser.ready
	$(call tested,$(BIN)/python -m pytest tests/browser)

# audiocraft's pins conflict with ours: it gets an environment of its own, which sees the packages of .venv.
build/audiocraft.ready: .venv/test.ready requirements/audiocraft.txt
	$(BIN)/python -m venv --without-pip build/audiocraft
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > \
		"$$(build/audiocraft/bin/python -c 'import site; print(site.getsitepackages()[0])')/below.pth"
	$(BIN)/python -m pip --python build/audiocraft/bin/python install --quiet --no-deps -r requirements/audiocraft.txt
	touch $@

test-audiocraft: build/audiocraft.ready
	build/audiocraft/bin/python -m pytest tests/audiocraft

# The environment of Ray's own processes; the jobs that they run use .venv.
build/ray.ready: .venv/test.ready requirements/ray.txt
	$(BIN)/python -m venv build/ray
	build/ray/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/ray.txt -c requirements/constraints.txt
	touch $@

test-ray: build/ray.ready
	$(BIN)/python -m pytest tests/ray

demo: .venv/serve.ready
	@$(BIN)/python -m scripts.demo

.venv/audit.ready: .venv/test.ready requirements/audit.txt
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/audit.txt
	touch $@

audit: .venv/audit.ready
	.venv/audit/bin/bandit --quiet --recursive --configfile pyproject.toml .
	.venv/audit/bin/pip-licenses --python $(BIN)/python --summary > /dev/null

advisories: .venv/audit.ready
	.venv/audit/bin/pip-audit --requirement requirements/constraints.txt --no-deps --disable-pip

benchmarks: .venv/test.ready
	$(BIN)/python -m benchmarks

VERIFY ?= --random 2B
verify-gpu: .venv/serve.ready
	$(BIN)/python -m verification $(VERIFY)

contract-fuzz: .venv/serve.ready requirements/fuzz.txt
	test -x .venv/fuzz/bin/st || $(PYTHON) -m venv .venv/fuzz
	.venv/fuzz/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/fuzz.txt
	$(BIN)/python -m tests.stress.contract_fuzz

docs/settings.md: core/settings.py scripts/settings_table.py .venv/serve.ready
	$(BIN)/python -m scripts.settings_table

web/openapi.json: $(wildcard api/openapi/*.py api/routes/*.py contract/*.py) .venv/serve.ready
	$(BIN)/python -m api.openapi.document > $@

web/lib/server/routes.json: $(wildcard api/openapi/*.py api/routes/*.py) .venv/serve.ready
	$(BIN)/python -m api.openapi.web_routes > $@

# Brings the generated files up to date, and builds the wheel into build/python-client/.
python-client: .venv/test.ready
	$(BIN)/python -m clients.python.generate
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir build/python-client clients/python

# Builds the package into build/typescript-client/.
typescript-client: web/openapi.json
	mkdir -p build/typescript-client
	cd clients/typescript && npm ci --no-audit --no-fund --loglevel=error \
		&& npm pack --silent --pack-destination ../../build/typescript-client

web/node_modules/.ready: web/package.json web/package-lock.json
	@node -e 'if (process.versions.node.split(".")[0] < 20) { console.error("Node 20 or newer is needed"); process.exit(1) }'
	cd web && npm ci --no-audit --no-fund --loglevel=error
	touch $@

web/.next/BUILD_ID: web/node_modules/.ready web/openapi.json web/lib/server/routes.json $(WEB)
	cd web && NEXT_TELEMETRY_DISABLED=1 npm run --silent build

web: .venv/serve.ready web/.next/BUILD_ID
	@exec $(BIN)/python -m scripts.web

test-web: .venv/browser.ready web/.next/BUILD_ID
	cd web && npm run --silent check
	$(call tested,$(BIN)/python -m pytest tests/web -n 2 --dist loadfile --ignore tests/web/firefox)

test-firefox: .venv/browser.ready web/.next/BUILD_ID
	$(BIN)/python -m pytest tests/web/firefox

bento: .venv/serve.ready
	$(BIN)/bentoml build

clean:
	rm -rf .venv build demo .pytest_cache .ruff_cache .mypy_cache web/node_modules web/.next
