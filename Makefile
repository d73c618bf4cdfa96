# Needs Python 3.11 or newer with venv, and a C++ compiler. Everything else comes from PyPI.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export TF_CPP_MIN_LOG_LEVEL ?= 2
# Images of containers often set it. Each process would then compile TensorFlow's modules anew, for five seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all test-matrix faults soak lint docs sanitize fuzz bench wheel release-check clean
help:
	@echo "make demo   set up, then find the cat in a photo: pictures in demo-output/"
	@echo "make test   set up, then run the tests that take seconds"
	@echo "make test-all  set up, then run the long ones: trainings, kills, many draws"
	@echo "make test-matrix  the fast tests in each combination of versions, one after the other (hours, 3 GB each)"
	@echo "make faults KILLS=50  set up, then kill each command so often, fill its disk and more (hours)"
	@echo "make soak  set up, then train, localise, call and load so often that a leak would show (hours)"
	@echo "make lint   set up, then check style and types (and the CUDA kernels, where nvcc is there)"
	@echo "make docs   set up, then build the documentation site into site/ (runs the tutorials: some minutes)"
	@echo "make sanitize  run the C++ test under the sanitizers"
	@echo "make fuzz  set up, then give hostile input to all readers, MINUTES=60 of it: faults in fuzz-output/"
	@echo "make bench  set up, then time the CRF loss, metrics, CAM methods and training (needs a quiet machine)"
	@echo "make wheel  set up, then build wheels for Linux on x86_64 and aarch64 into dist/"
	@echo "make release-check  set up, then write dist/sbom.json and dist/SHA256SUMS, and look for known vulnerabilities"
	@echo "make clean  remove the environment and all that was made"

# A failed installation leaves no stamp, so the next call starts over. Python compiles the modules that are used when
# they are; pip would compile all 16,000 first, for half a minute.
$(INSTALLED): pyproject.toml CMakeLists.txt $(wildcard fcam_tf/ops/cc/*)
	@echo "==> Setting up $(VENV) with $(PYTHON) (about a minute, 2.5 GB: mostly TensorFlow)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "venv is missing: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python tools/install.py --no-compile --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	@echo "==> Looking for the cat"
	@$(BIN)/python tools/demo.py --out demo-output

# One process a core; each holds up to 4 GB.
PYTEST = $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist worksteal

test: $(INSTALLED)
	@echo "==> Running the tests"
	@$(PYTEST) -m "not slow"

test-all: $(INSTALLED)
	@echo "==> Running the long tests"
	@$(PYTEST) -m slow

# What nox is to run of noxfile.py: MATRIX="--python 3.11 --keywords tf2_19", or all.
MATRIX ?=

test-matrix:
	@echo "==> Running the tests in each combination of versions"
	@$(PYTHON) -m venv $(VENV)-nox
	@$(VENV)-nox/bin/python -m pip install --quiet --disable-pip-version-check 'nox[uv]>=2025.2'
	@PATH="$(CURDIR)/$(VENV)-nox/bin:$$PATH" $(VENV)-nox/bin/nox $(MATRIX); status=$$?; cat matrix-output/table.md; exit $$status

KILLS ?= 10
OTHERS ?= 3

faults: $(INSTALLED)
	@echo "==> Disturbing the commands"
	@$(BIN)/python -m tests.faults --kills $(KILLS) --others $(OTHERS)

soak: $(INSTALLED)
	@echo "==> Repeating what is repeated for days"
	@$(BIN)/python -m tests.soak

lint: $(INSTALLED)
	@echo "==> Checking style and types"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@out=$$(mktemp) && trap 'rm -f "$$out"' EXIT && ! command -v nvcc >/dev/null || for arch in 80 90; do \
	  nvcc -arch=sm_$$arch -std=c++17 -cubin -Werror all-warnings -o "$$out" fcam_tf/ops/cc/permutohedral.cu || exit 1; \
	done

docs: $(INSTALLED)
	@echo "==> Building the site, and running its tutorials"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

sanitize:
	@echo "==> Checking the C++ code for memory errors and data races"
	@tools/sanitize.sh

MINUTES ?= 60

# The C++ lattice and the compiled operations first, each for a tenth of the time.
fuzz: $(INSTALLED)
	@echo "==> Giving hostile input to all that reads any, for $(MINUTES) minutes (Linux on x86_64)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	@tools/fuzz_lattice.sh $$(( $(MINUTES) * 6 ))
	@PYTHON=$(BIN)/python tools/fuzz_ops.sh $$(( $(MINUTES) * 6 ))
	@$(BIN)/python tools/fuzz.py --minutes $(MINUTES) --out fuzz-output

bench: $(INSTALLED)
	@echo "==> Timing the CRF loss"
	@$(BIN)/python tools/bench_crf.py
	@echo "==> Timing inference in a dense CRF"
	@$(BIN)/python tools/bench_dense_crf.py
	@echo "==> Timing the metrics"
	@$(BIN)/python tools/bench_metrics.py
	@echo "==> Timing the CAM methods on resnet50"
	@$(BIN)/python tools/bench_cams.py
	@echo "==> Timing a training step of F-CAM on resnet50"
	@$(BIN)/python tools/bench_training.py
	@echo "==> Timing a training step of the baselines"
	@$(BIN)/python tools/bench_training.py --backbone efficientnetlite_b0 --output_stride 16 \
		--classifiers cam,has,cutmix,adl,acol,spg,icl
	@echo "==> Timing fcam localize"
	@$(BIN)/python tools/bench_localize.py
	@echo "==> Timing the score methods too, on a smaller network (59,000 forward passes)"
	@$(BIN)/python tools/bench_cams.py --backbone efficientnetlite_b0 --score_images 1

wheel: $(INSTALLED)
	@echo "==> Building wheels (some minutes; Zig's compiler is 100 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'ziglang>=0.14' 'pyelftools>=0.31' wheel
	@$(BIN)/python tools/wheels.py --out dist

release-check: $(INSTALLED)
	@echo "==> Writing what a release consists of, and its hashes (after make wheel)"
	@$(PYTHON) -m venv $(VENV)-release
	@$(VENV)-release/bin/python -m pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7' 'pip-audit>=2.9'
	@tools/release_check.sh $(VENV)-release/bin $(BIN)/python dist

clean:
	rm -rf $(VENV) $(VENV)-release $(VENV)-nox .nox matrix-output fcam_tf/ops/*.so build dist site demo-output bench-output fuzz-output *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
