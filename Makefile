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
.PHONY: help setup setup-window setup-test demo live console test check-jetson test-slow lint docs benchmark check-gpu benchmark-trackers \
	train-data train-smoke cross-validate train-release recipes recipes-smoke lock clean

help:  ## list the targets
	@echo "refdet: finds the object of a few reference photos in a camera stream"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-26s %s\n", $$1, $$2 }'
	@echo
	@echo "The first run makes $(VENV), which takes some minutes."

setup:  ## make .venv for the node, the command line and the demo
	@bootstrap/bootstrap.sh base

setup-window:  ## also install OpenCV with windows (make live)
	@bootstrap/bootstrap.sh window

setup-test:  ## also install what training, tests and lint need
	@bootstrap/bootstrap.sh test

demo: setup  ## run the node on real footage; VIDEO= TEMPLATE= ROI=X,Y,W,H for your own
	@$(PYTHON_IN_VENV) -m refdet_ros.demo $(if $(VIDEO),--video "$(VIDEO)") \
		$(if $(TEMPLATE),--template "$(TEMPLATE)") $(if $(ROI),--roi "$(ROI)") $(DEMO_ARGS)

SOURCE ?= 0
live: setup-window  ## track the object in a box that you draw in SOURCE= (camera 0, video, rtsp://...)
	@PYTHONPATH=$(CURDIR)/$(VENV)/full_opencv $(VENV)/bin/refdet live "$(SOURCE)" $(LIVE_ARGS)

console: setup  ## the same in a web browser: SOURCE= played to the detector node, and the console
	@$(PYTHON_IN_VENV) -m refdet_ros.console.standalone "$(SOURCE)" $(CONSOLE_ARGS)

# Each worker has a ROS domain of its own and takes one file after the other. Tests of nodes wait
# half of the time, so that three workers keep two cores busy.
WORKERS ?= 3
PARALLEL := $(if $(filter-out 0 1,$(WORKERS)),-n $(WORKERS) --dist loadfile --no-loadscope-reorder)
test: setup-test  ## run the tests except the slow ones; WORKERS=1: one after the other; PYTEST_ARGS= adds arguments
	@ROS_PYTHON_CHECK_FIELDS=1 OMP_NUM_THREADS=1 $(PYTHON_IN_VENV) -m pytest $(PARALLEL) $(PYTEST_ARGS)

check-jetson:  ## run test/core as on JetPack 5: Python 3.8, the real TensorRT 8.5; PYTHON38= picks one
	@bootstrap/check_jetson.sh $(PYTEST_ARGS)

test-slow: setup-test  ## run the slow tests
	@ROS_PYTHON_CHECK_FIELDS=1 $(PYTHON_IN_VENV) -m pytest -m slow $(PYTEST_ARGS)

lint: setup-test  ## check style, types and spelling (ruff, mypy, codespell)
	@$(PYTHON_IN_VENV) -m ruff check .
	@$(PYTHON_IN_VENV) -m ruff format --check .
	@$(PYTHON_IN_VENV) -m mypy
	@$(VENV)/bin/codespell

docs:  ## build the documentation into site/; broken links fail
	@bootstrap/bootstrap.sh docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build
	@echo "site/index.html is the documentation"

benchmark: setup-test  ## measure speed, side by side in one run; BENCHMARK_ARGS="--only stages node"
	@$(PYTHON_IN_VENV) -m benchmarks.speed --data "$(DATA)" $(BENCHMARK_ARGS)

check-gpu: setup-test  ## measure an NVIDIA GPU in eight minutes (docs/gpu.md); BENCHMARK_ARGS=--dry-run without one
	@test -f runs/gpu/footage/footage.json || $(PYTHON_IN_VENV) -m benchmarks.gpu.footage --data "$(DATA)"
	@$(PYTHON_IN_VENV) -m benchmarks.gpu $(BENCHMARK_ARGS)

benchmark-trackers: setup-test setup-window  ## compare with OpenCV's trackers on the videos in DATA=
	@PYTHONPATH=$(CURDIR)/$(VENV)/full_opencv $(PYTHON_IN_VENV) -m benchmarks.trackers \
		--data "$(DATA)" $(BENCHMARK_ARGS)

# The videos of one scene with the same people are one family: never each other's negatives.
DATA ?= ../shared/data
PREPARED ?= runs/prepared
FOLDS ?= runs/folds
RECIPE := refdet_training/recipes/refdet_
PREPARE := $(TRAIN) prepare --frames raw --output $(PREPARED)
PAIRS := --data.cutouts $(DATA)/cutout_sources --data.object_cutouts $(DATA)/object_cutouts \
	--data.backgrounds '["$(DATA)/backgrounds", "$(DATA)/aerial_cars"]'
DISTILLED := runs/distilled.safetensors
base := --model.backbone_weights $(DATA)/weights/fear_backbone.onnx --data.store runs/store/base $(PAIRS)
small := --model.backbone_weights $(DISTILLED) --data.store runs/store/small $(PAIRS)

train-data: setup-test  ## index the videos, photos and boxes in DATA= (15 GB of decoded frames)
	@$(PREPARE) --data $(DATA)/aerial_sequences --every 2 --splits $(DATA)/places.json \
		--family-pattern '^(?:(?P<people>person|group)|(?P<wakeboard>wakeboard))' \
		--kind-pattern '^(?:(?P<person>person|group)|([A-Za-z]+))'
	@$(PREPARE) --data $(DATA)/tracked_objects --val-share 0
	@$(PREPARE) --data $(DATA)/airborne_targets --every 5 --val-share 0 --kind-pattern '_([A-Z]+)_'
	@$(PREPARE) --data $(DATA)/aerial_cars --val-share 0 --family-pattern '^([A-Za-z]+)'

$(DISTILLED): | setup-test
	@mkdir -p $(@D)
	@$(TRAIN) distil $(addprefix $(DATA)/,airborne_targets tracked_objects cutout_sources backgrounds aerial_cars) \
		--backbone mobilenetv3_large_075 --cut-blocks 1 --output $@ \
		--weights $(DATA)/weights/tf_mobilenetv3_large_075_coco_blocks0-5_fp16.safetensors

train-smoke: train-data  ## a few minutes of training on DATA=, through to a measured network
	@$(TRAIN) cross-validate --recipe $(RECIPE)base.yaml --data $(PREPARED) --output runs/smoke \
		--folds 0 --frames 4 --absent 4 -- $(base) --data.store runs/smoke/store \
		--data.store_pairs 60 --trainer.max_steps 60 --data.tune_pairs 48

define cross_validate
	@$(TRAIN) cross-validate --recipe $(RECIPE)$(1).yaml --data $(PREPARED) --output $(FOLDS)/$(1) \
		--refine fear lighttrack efficientnet_lite0 --allowed-fpr 0.03 --follow 5 $(2) -- $($(1))

endef
cross-validate: train-data $(DISTILLED)  ## train the released recipes without each fold of places, measure them there
	$(call cross_validate,base,--zero-shot fear_xs=$(DATA)/weights/fear_backbone.onnx)
	$(call cross_validate,small)

define release
	@$(TRAIN) fit --config $(RECIPE)$(1).yaml --data.data_dir $(PREPARED) $($(1)) \
		--trainer.default_root_dir runs/release/$(1) \
		$(if $(wildcard runs/release/$(1)/last.ckpt),--ckpt_path last)
	@$(TRAIN) export --checkpoint runs/release/$(1)/last.ckpt --output runs/release/$(1)/bundle \
		--name refdet-$(1) --version 0.0.0
	@$(TRAIN) publish --bundle runs/release/$(1)/bundle --data $(PREPARED) \
		--cross-validation $(FOLDS)/$(1)/cross_validation.json

endef
train-release: cross-validate  ## train the released models again: some hours on a CPU, resumes if interrupted
	$(call release,base)
	$(call release,small)

recipes-smoke: setup-test  ## train every recipe for two steps on DATA=, export, run the result
	@$(PYTHON_IN_VENV) -m benchmarks.recipes.smoke --data $(DATA) --output runs/recipes-smoke

STEPS ?= 300
recipes: train-data  ## train all recipes for STEPS= without one fold of places, compare them there
	@$(PYTHON_IN_VENV) -m benchmarks.recipes.train --data $(PREPARED) --weights $(DATA)/weights \
		--steps $(STEPS) --output runs/recipes
	@$(PYTHON_IN_VENV) -m benchmarks.recipes --data $(PREPARED) --runs runs/recipes \
		--single 10 --config tile_scale=1 --bundle base=default --output runs/recipes/table.md

lock: setup  ## pin requirements/*.txt again from requirements/*.in
	@$(PYTHON_IN_VENV) bootstrap/lock.py

clean:  ## remove .venv and everything built
	@rm -rf $(VENV) .venv-docs site build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
