# DeML. `make train` trains MNIST on three workers and shows the result; `make test` checks everything.
# Every target installs what it needs when it is missing (Debian packages, private Python environments).

SHELL := /bin/sh
BUILD := .build/release
SWIFT_PACKAGES := zlib1g-dev libisal-dev libsqlite3-dev libpng-dev libjpeg-dev
TEST_PYTHON := .venv-test
# Of the Golem Network that `make testnet` starts.
PROVIDERS := 3
# More options for `make train`, for example TRAIN_OPTIONS="--output runs/mine --seed 1".
TRAIN_OPTIONS :=
TEST_REQUIREMENTS := numpy==2.4.6 safetensors==0.8.0 torch==2.13.0

.PHONY: help build worker image dist train train-golem testnet test lint test-unit test-system bench format clean

help:
	@echo "make train   train MNIST on three workers, compare with one place, write runs/mnist-mlp/report.html"
	@echo "make train-golem  the same on three rented machines of a Golem Network on this computer"
	@echo "make testnet a Golem Network on this computer, until Ctrl-C; prints what to export (PROVIDERS=3)"
	@echo "make test    everything: format, unit tests, whole-system tests"
	@echo "make build   deml and deml-worker in $(BUILD)"
	@echo "make worker  the static deml-worker alone, in $(BUILD)"
	@echo "make image   provider-image/deml-worker.gvmi, what providers on Golem run"
	@echo "make dist    programs for people without Swift: a .tar.gz and a wheel with the Python module, in dist/"
	@echo "make bench   side by side with PyTorch, in one run"
	@echo "make format  format the sources in place"
	@echo "make clean   remove builds and private environments (keeps runs/)"

.PHONY: swift-is-here
swift-is-here:
	@tools/build-folders
	@command -v swift >/dev/null 2>&1 || { \
	    echo "DeML needs Swift 6.2 or newer: https://www.swift.org/install/linux" >&2; exit 69; }
	@tools/need-packages $(SWIFT_PACKAGES)

# All programs in one go: two products one after the other would leave a processor idle in between.
build: swift-is-here
	tools/part "build: programs" tools/swift-build

worker: swift-is-here
	tools/part "build: static worker" provider-image/static-worker

image: swift-is-here
	provider-image/build

dist: swift-is-here
	tools/dist

train: build
	$(BUILD)/deml train examples/mnist-mlp.yaml $(TRAIN_OPTIONS)

# A Golem Network on loopback, the image, three rented machines; then the same training here, byte for byte.
train-golem: build image
	DEML=$$PWD/$(BUILD)/deml DEML_WORKER=$$PWD/$(BUILD)/deml-worker Tests/system/run golem_train

testnet:
	@exec Tests/testnet/up --providers $(PROVIDERS)

# At the end the slowest parts, whatever came before.
test: swift-is-here
	@DEML_PARTS=$$(mktemp) && export DEML_PARTS && code=0 && \
	{ $(MAKE) --no-print-directory lint test-unit test-system || code=$$?; } && \
	tools/part --slowest && rm -f "$$DEML_PARTS" && exit $$code

lint: swift-is-here
	tools/part lint swift format lint --strict --recursive --parallel Package.swift Sources requestor Tests examples

# One configuration for programs and tests, so that each module is compiled once.
test-unit: swift-is-here
	tools/part "build: unit tests" tools/swift-build --build-tests
	tools/unit-tests

test-system: build
	python=$$(tools/part "Python environment" tools/python-environment $(TEST_PYTHON) $(TEST_REQUIREMENTS)) && \
	DEML=$$PWD/$(BUILD)/deml DEML_WORKER=$$PWD/$(BUILD)/deml-worker \
	DEML_TEST_PYTHON=$$PWD/$$python Tests/system/run

bench: build
	DEML=$$PWD/$(BUILD)/deml DEML_WORKER=$$PWD/$(BUILD)/deml-worker Benchmarks/run

format: swift-is-here
	swift format --in-place --recursive --parallel Package.swift Sources requestor Tests examples

clean:
	rm -rf .build .build-* .venv-* dist provider-image/*.gvmi provider-image/*.gvmi.json
