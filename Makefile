# One command sets all up, builds and does its job. See README.md.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

ARGS ?=
# What a build copies or compiles. Python files are linked, so a change in one needs no build.
SOURCES := setup.py setup.cfg package.xml $(shell find $(wildcard msg launch config resource) ! -path '*/__pycache__*')
IN_ROS := set +u; . .venv/ros.sh; set -u;

.PHONY: help setup build demo test matrix check style check-safety check-mutations check-interop bench bench-gate docs clean distclean FORCE

help: ## this list
	@echo "make WHAT [ARGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
	  || sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1: \2/p' Makefile

demo: build ## the simulated robot follows three instructions; ARGS are vla demo's
	@$(IN_ROS) exec vla demo $(ARGS)

test: build ## all tests; ARGS are pytest's, as in ARGS="-k gate"
	@.ci/test $(ARGS)

matrix: build ## the tests with other systems' versions, in build/matrix; ARGS choose, as in ARGS="jammy kilted"
	@.ci/matrix $(ARGS)

check: .venv/.ready ## ruff and mypy
	@.ci/check

style: ## how densely the code is written, beside well-known packages; ARGS are folders
	@python3 .ci/style.py $(ARGS)

bench: build ## latency, loss and memory of the nodes; ARGS are vla bench pipeline's
	@$(IN_ROS) exec vla bench pipeline $(ARGS)

bench-gate: build ## the gate beside a plain one: a step, the jitter, stop to zero; ARGS are vla bench gate's
	@$(IN_ROS) exec vla bench gate $(ARGS)

check-safety: build ## the gate's tests, faults with real processes, and each of many small ways to break it
	@.ci/test --full -k "gate or rules or obstacles or safety or faults"
	@$(IN_ROS) exec python test/safety/mutate.py

check-mutations: build ## many small ways to break all but the gate; ARGS choose, as in ARGS="blending ramp"
	@$(IN_ROS) exec python test/mutations/package.py $(ARGS)

check-interop: build ## openpi's own server and client, LeRobot's checkpoints and datasets, each in its own environment
	@$(IN_ROS) exec python test/interop/openpi.py
	@$(IN_ROS) exec python test/interop/lerobot_sidecar.py
	@$(IN_ROS) exec python test/interop/lerobot_data.py

docs: .venv/.ready build/docs/.ready ## the pages of doc/ as a site, in build/site
	@.venv/bin/python doc/generate.py --check
	@NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build && echo "build/site/index.html"

build: build/.built ## nodes and messages, with colcon, into install/

setup: .venv/.ready ## the environment, .venv; a shell of your own gets it with ". .venv/ros.sh"

clean: ## removes what was built and what runs left behind; .venv stays
	rm -rf build install log demo bench .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

distclean: clean ## removes .venv as well
	rm -rf .venv

# Asked every time, answered in a tenth of a second; its time changes only when the environment did.
.venv/.ready: FORCE
	@.ci/setup

build/docs/.ready: .ci/requirements-docs.txt | .venv/.ready
	@.venv/bin/python -m venv build/docs
	@build/docs/bin/python -m pip install --disable-pip-version-check -q -r $<
	@touch $@

build/.built: .venv/.ready $(SOURCES)
	@set +u; . .venv/local_setup.sh; set -u; colcon build --symlink-install --event-handlers console_direct-
	@touch $@
