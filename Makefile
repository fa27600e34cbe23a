# SPDX-License-Identifier: Apache-2.0
# Two commands do all the set-up on a machine with Python >= 3.11 and a C compiler:
#   make run    build what is needed in .venv and talk with the bundled model
#   make test   the same, then run every test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/src/*.[ch] native/include/*.h native/python/*.c) CMakeLists.txt pyproject.toml

.PHONY: run test test-train check cuda bench bench-peers golden fuzz qemu wheels device-test image-test clean help

help:  ## say what each target does
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: $(VENV)/run.stamp  ## talk with the parrot
	@$(BIN)/parrot chat $(ARGS)

test: $(VENV)/test.stamp  ## run all tests
	@$(BIN)/python -m pytest -q $(ARGS)

check: $(VENV)/test.stamp  ## style, types, warnings as errors, sanitizers, a minute of fuzzing
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	@sh tests/native/check.sh

fuzz: ## fuzz the readers for SECONDS (default 3600) with clang's libFuzzer
	@sh tests/native/fuzz.sh $${SECONDS_TO_FUZZ:-3600}

cuda: $(VENV)/run.stamp  ## the GPU library, beside the extension (needs CUDA's nvcc 13.0 and cmake)
	@cmake -S . -B build/cuda -DPARROT_CUDA=ON >/dev/null && cmake --build build/cuda --target parrot_cuda
	@cp build/cuda/libparrot_cuda.so "$$(env -u PARROT_CUDA $(BIN)/python -c \
	  'from parrot.engine.cuda_library import library_path as p; print(p())')"

bench: $(VENV)/run.stamp  ## speed of the bundled model on this machine
	@$(BIN)/parrot bench $(ARGS)

bench-peers: $(VENV)/test.stamp  ## the same model in llama.cpp, in the same minute (builds it first)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]' 1>&2
	@$(BIN)/python -m tools.bench_peers $(ARGS)

golden: $(VENV)/test.stamp  ## redraw the golden frames and print how far each moved
	@$(BIN)/python -m tools.frames && $(BIN)/python -m tools.screens && $(BIN)/python -m tools.wiring

test-train: $(VENV)/train.stamp  ## the tests that need PyTorch: trainer, and the oracle against rwkv
	@$(BIN)/python -m pytest -q tests/unit/test_train_*.py tests/unit/test_reference.py \
	  tests/unit/test_convert.py tests/unit/test_tokenizer.py \
	  tests/unit/test_bench_gpu.py::test_peer_does_the_same_step $(ARGS)

qemu:  ## the C tests on other CPUs under qemu-user (needs ziglang and qemu-user)
	@sh tests/native/qemu.sh

device-test: $(VENV)/test.stamp  ## boot the parrot on a virtual board (needs qemu-system-arm, mmdebstrap; CUTS=20)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check ziglang 1>&2
	@PARROT_DEVICE_TEST=1 PARROT_CUTS=$(or $(CUTS),3) $(BIN)/python -m pytest -q -s tests/hardware/test_device.py $(ARGS)

image-test: $(VENV)/test.stamp  ## build images, boot them, hear them, break them (root; tools of docs/boards/qemu.md)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check ziglang 1>&2
	@PARROT_IMAGE_TEST=1 $(BIN)/python -m pytest -q -s tests/hardware/test_image_boot.py tests/hardware/test_image_install.py $(ARGS)

wheels: $(VENV)/run.stamp  ## wheels and the C library for every target, built twice and compared, in dist
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[wheels]' 1>&2
	@$(BIN)/python -m tools.wheels --twice --out dist $(ARGS)

clean:  ## remove everything that was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@echo "setting up $(VENV) ..." >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $$($(PYTHON) --version), expected Python 3.11 or newer; run: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# pip says what it does on standard error only, so that `make -s run` prints nothing but replies.
$(VENV)/run.stamp: $(BIN)/python $(NATIVE)
	@echo "building the engine ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[chat]' 1>&2
	@touch $@

$(VENV)/test.stamp: $(BIN)/python $(NATIVE)
	@echo "building the engine and the test tools ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[chat,board,speech,test]' 1>&2
	@touch $@ $(VENV)/run.stamp

$(VENV)/train.stamp: $(VENV)/test.stamp
	@echo "adding PyTorch ..." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[train,peers]' 1>&2
	@touch $@
