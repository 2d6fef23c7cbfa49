# `make` alone lists the targets.

VENV   := .venv
PYTHON_IN_VENV := $(VENV)/bin/python
TRAIN := $(VENV)/bin/refdet-train

# A sourced ROS 2, an active virtual environment or an environment made from the
# ROS 2 wheels would leak into .venv's programs. (ROS_DOMAIN_ID and Fast DDS
# profiles pass through.)
ifneq ($(AMENT_PREFIX_PATH),)
export REFDET_SOURCED_ROS := $(ROS_DISTRO)
endif
ifneq ($(AMENT_PREFIX_PATH)$(_ROS_WHEELS_BOOTSTRAP_COMPLETE),)
unexport LD_LIBRARY_PATH
endif
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
unexport ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV _ROS_WHEELS_BOOTSTRAP_COMPLETE

# PYTHON=/path/to/python3.12 picks the interpreter .venv is made of.
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test test-slow lint benchmark train-smoke lock clean

help:  ## list the targets
	@echo "refdet: finds the object of a few reference photos in a camera stream"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo
	@echo "The first run of any of them makes $(VENV), which takes some minutes."

setup:  ## make .venv for the node, the command line and the demo
	@bootstrap/bootstrap.sh base

setup-test:  ## make .venv also for training, tests and lint
	@bootstrap/bootstrap.sh test

demo: setup  ## run the node on real footage; VIDEO= TEMPLATE= ROI=X,Y,W,H for your own
	@$(PYTHON_IN_VENV) -m refdet_ros.demo $(if $(VIDEO),--video "$(VIDEO)") \
		$(if $(TEMPLATE),--template "$(TEMPLATE)") $(if $(ROI),--roi "$(ROI)") $(DEMO_ARGS)

test: setup-test  ## run the tests, but for the slow ones; PYTEST_ARGS= is passed on
	@ROS_PYTHON_CHECK_FIELDS=1 $(PYTHON_IN_VENV) -m pytest $(PYTEST_ARGS)

test-slow: setup-test  ## run the slow tests
	@ROS_PYTHON_CHECK_FIELDS=1 $(PYTHON_IN_VENV) -m pytest -m slow $(PYTEST_ARGS)

lint: setup-test  ## check style and types (ruff, mypy)
	@$(PYTHON_IN_VENV) -m ruff check .
	@$(PYTHON_IN_VENV) -m ruff format --check .
	@$(PYTHON_IN_VENV) -m mypy

benchmark: setup  ## measure speed, side by side in one run
	@$(PYTHON_IN_VENV) -m benchmarks.detector_speed $(BENCHMARK_ARGS)
	@$(PYTHON_IN_VENV) -m benchmarks.node_overhead

DATA ?= ../shared/data
SMOKE := runs/smoke
RECIPE := refdet_training/recipes/small_objects.yaml
train-smoke: setup-test  ## ten minutes of training on DATA=, through to a measured bundle
	@$(TRAIN) prepare --data $(DATA) --prepared runs/frames
	@$(TRAIN) fit --data $(DATA) --prepared runs/frames --recipe $(RECIPE) --output $(SMOKE) --steps 300
	@$(TRAIN) export --checkpoint $(SMOKE)/last.pt --output $(SMOKE)/bundle --name smoke --version 0.0.0
	@$(TRAIN) publish --data $(DATA) --prepared runs/frames --recipe $(RECIPE) --bundle $(SMOKE)/bundle

lock: setup  ## pin requirements/*.txt anew from requirements/*.in
	@$(PYTHON_IN_VENV) bootstrap/lock.py

clean:  ## remove .venv and everything built
	@rm -rf $(VENV) build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
