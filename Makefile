# `make demo` does the main job, `make test` runs every check.  Both build the environments that
# they need and rebuild only what is out of date.  Wants GNU make, a POSIX shell and Python.

PYTHON ?= python3
PYTEST_ARGS ?= -n 2 --dist loadfile

export NEURODEPLOY_LAVA_ENV := $(CURDIR)/.venv-lava
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Of the last change: the wheel is the same bytes each time that it is built.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 315532800)

SOURCES := $(sort $(shell find neurodeploy targets models -type f -not -path '*/__pycache__/*'))
CONFIG := pyproject.toml setup.py constraints.txt
NIR_TOOLS := tests/conformance/nir_tools/requirements.txt

.PHONY: demo test audit release lint types format lava lava-shim nir bench finetuning models clean FORCE
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: .venv/.stamp
	@.venv/bin/neurodeploy lava install \
	  || echo '[make] no Lava environment: the demo goes on, its Lava check will be NOT RUN'
	@.venv/bin/neurodeploy demo

test: lava nir lint types .venv-core/.stamp
	@echo '[make] pytest'
	@.venv/bin/pytest $(PYTEST_ARGS)

# Known vulnerabilities of the versions in constraints.txt.  NOT RUN, where no service knows them, is
# an error, unless AUDIT_MAY_NOT_RUN says that this machine reaches none.
audit: .venv/.stamp
	@.venv/bin/python -m tests.audit || { [ $$? = 3 ] && [ -n "$(AUDIT_MAY_NOT_RUN)" ]; }

# The wheel, and the bill of materials of the environment in which `make test` tries it.
release: audit .venv-core/.stamp
	@.venv/bin/cyclonedx-py environment --output-reproducible --of JSON \
	  --pyproject pyproject.toml -o .build/dist/neurodeploy-snn.cdx.json .venv-core/bin/python
	@ls .build/dist

# What docs/simulator.md shows; wants a machine that does nothing else for a quarter of an hour.
bench: lava nir
	@.venv-nir/bin/python -m benchmarks.simulator --json docs/measured/simulator.json
	@.venv-nir/bin/python -m benchmarks.density --json docs/measured/density.json
	@.venv-nir/bin/python -m benchmarks.scale --json docs/measured/scale.json
	@.venv-nir/bin/python -m benchmarks.start --json docs/measured/start.json
	@.venv-nir/bin/python -m benchmarks.growth docs/measured
	@NEURODEPLOY_WRITE_DOCS=1 .venv/bin/pytest -q tests/test_measured.py

# What models/README.md shows: every training system anew, on every data set, on both chips.
models: .venv/.stamp
	@.venv/bin/python -m neurodeploy.models.table

# The tables of docs/training.md: a quarter of an hour.
finetuning: .venv/.stamp
	@.venv/bin/python -m benchmarks.finetuning --json docs/measured/finetuning.json
	@.venv/bin/python -m benchmarks.spike_price --json docs/measured/spike_price.json
	@NEURODEPLOY_WRITE_DOCS=1 .venv/bin/pytest -q tests/torch/test_training_docs.py

lint: .venv/.stamp
	@echo '[make] ruff'
	@.venv/bin/ruff check -q .
	@.venv/bin/ruff format -q --check .

# mypy sees the layout of the installed package, not that of the repository.
types: .venv/.stamp
	@echo '[make] mypy --strict'
	@rm -rf .build/types && mkdir -p .build/types/neurodeploy
	@ln -s '$(CURDIR)'/neurodeploy/* '$(CURDIR)/targets' '$(CURDIR)/models' .build/types/neurodeploy
	@cd .build/types && ../../.venv/bin/mypy --config-file ../../pyproject.toml \
	  --cache-dir ../mypy -p neurodeploy

format: .venv/.stamp
	@.venv/bin/ruff check -q --fix .
	@.venv/bin/ruff format -q .

# A private environment, of Python 3.10 where there is one; the command does nothing if it is
# complete.
lava: .venv/.stamp
	@.venv/bin/neurodeploy lava install

# Lava's tests again on each of the Pythons that need the shim.
lava-shim: .venv/.stamp
	@for version in 3.11 3.12 3.13; do \
	  export NEURODEPLOY_LAVA_ENV='$(CURDIR)'/.venv-lava-$$version; \
	  .venv/bin/neurodeploy lava install --python python$$version \
	    && .venv/bin/pytest $(PYTEST_ARGS) tests/conformance/test_lava.py \
	      tests/targets/loihi/test_lava_models.py tests/targets/loihi/test_lava_faults.py || exit 1; \
	done

# Norse and SpikingJelly, with which the tests compare what a NIR file means.
nir: .venv-nir/.stamp

# Everything that make has made, the environments too.
clean:
	rm -rf .build build .venv .venv-* *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The library in place, with all that training and development need.
.venv/.stamp: $(CONFIG)
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 14) or sys.exit( \
	  "neurodeploy needs Python 3.10 to 3.13, and $(PYTHON) is %d.%d: make PYTHON=python3.11 ..." \
	  % sys.version_info[:2])'
	@echo '[make] .venv: the library with torch, snnTorch and the tools (some minutes)'
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install -qq -c constraints.txt -e '.[models,data,quantised,scale,dev]'
	@touch $@

# Their packages only: what they depend on is that of .venv, found through a .pth file.
.venv-nir/.stamp: .venv/.stamp $(NIR_TOOLS)
	@echo '[make] .venv-nir: Norse and SpikingJelly beside the torch of .venv'
	@.venv/bin/python -m venv --clear .venv-nir
	@.venv-nir/bin/pip install -qq --no-deps -r $(NIR_TOOLS)
	@packages='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  echo "import site; site.addsitedir('$$(.venv/bin/python -c "$$packages")')" \
	  >"$$(.venv-nir/bin/python -c "$$packages")/development.pth"
	@touch $@

# The list of source files, rewritten when a file comes or goes.
.build/sources: FORCE
	@mkdir -p .build
	@echo '$(SOURCES)' | cmp -s - $@ || echo '$(SOURCES)' >$@

# What is published, built by way of the source distribution, so that this is checked as well.
.build/dist/.stamp: .venv/.stamp .build/sources $(SOURCES) README.md LICENSE
	@echo '[make] wheel'
	@rm -rf .build/dist && mkdir -p .build/dist
	@.venv/bin/python -m build --no-isolation --outdir .build/dist >.build/wheel.log 2>&1 \
	  || { cat .build/wheel.log; exit 1; }
	@touch $@

# The wheel with its core dependencies only: no torch.
.venv-core/.stamp: .build/dist/.stamp
	@echo '[make] .venv-core: the wheel without torch'
	@$(PYTHON) -m venv .venv-core
	@.venv-core/bin/pip uninstall -qq -y neurodeploy-snn
	@.venv-core/bin/pip install -qq -c constraints.txt .build/dist/*.whl
	@touch $@
