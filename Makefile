# `make` alone lists what can be done. Everything stays inside this folder: tools in .venv, the local stack in .local.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up call status down test openapi soak rolling bench screenshots package key build symbols clean
# The steps of a target depend on each other; cargo uses all cores by itself.
.NOTPARALLEL:

export PATH := $(CURDIR)/.venv/bin:$(PATH)
STACK := python3 infra/local/stack.py

# One build for everything that runs outside of tests, so that the AWS SDK is compiled once. The glibc version is that of Debian 11, the
# oldest system the agent is made for; the functions run on a newer one. Optimisations are those of Cargo.toml: cargo-lambda's own would
# also ask for a processor that small machines beside a PBX may not have.
CRATES := api fanout deliver easyconnect-agent pbx-sim easyconnect-tests
# What `make up` and the tests run; `make bench` needs two more.
PROGRAMS := api fanout deliver easyconnect-agent pbx-sim seed
TARGET := $(shell uname -m)-unknown-linux-gnu.2.31
BUILD = cargo lambda build --release --disable-optimizations --skip-target-check --target $(TARGET) --lambda-dir target/lambda \
	$(if $(CI),--locked) $(addprefix -p ,$(CRATES)) $(addprefix --bin ,$(PROGRAMS))

# What stands behind `bench` names figures, and is nothing to make.
ifeq (bench,$(firstword $(MAKECMDGOALS)))
FIGURES := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
.PHONY: $(FIGURES)
$(FIGURES): ; @:
endif

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

up: build ## start the whole product on this machine, or bring it up to date
	@echo "== stack"
	@.venv/bin/python infra/local/stack.py up

call: ## a call that nobody answers; shows the webhooks it causes
	@$(STACK) call

status: ## what of it runs, and where
	@$(STACK) status

down: ## end and remove what `make up` started
	@$(STACK) down

test: .venv/test-tools.stamp .venv/checkov.stamp ## everything CI runs
	@BUILD='$(BUILD)' infra/test.sh

openapi: ## make the API descriptions that are derived from api.yaml
	@cargo run --quiet -p easyconnect-tests --bin openapi

soak: build .venv/test-tools.stamp ## the tests that take minutes
	@cargo test -p easyconnect-tests --test soak -- --nocapture --test-threads=1
	@EASYCONNECT_EXAMPLES=10 cargo test -p easyconnect-tests --test e2e -- --nocapture --test-threads=1 tools::schemathesis
	@STORY_SEEDS=$${STORY_SEEDS:-500} STORY_SECONDS=$${STORY_SECONDS:-3600} cargo test --profile soak -p cloud-sim --test stories -- \
		--nocapture --test-threads=1 --include-ignored

# The version before this one, whose functions `make rolling` runs beside the present ones: a tag or a commit.
PREVIOUS := 7a439a1

rolling: ## an update and the way back under traffic, with an earlier version beside this one; PREVIOUS=tag or commit
	@tests/rolling/before.sh $(PREVIOUS)
	@cd tests/rolling && STORY_SECONDS=$${STORY_SECONDS:-300} CARGO_TARGET_DIR=$(CURDIR)/target cargo test --test rolling -- \
		--nocapture --test-threads=1 --skip template

STORIES := cargo test --quiet -p cloud-sim --test stories --
TOLD := cost rate

bench: PROGRAMS += bench hello
bench: $(if $(filter-out $(TOLD),$(or $(FIGURES),all)),build) $(if $(filter instructions,$(or $(FIGURES),instructions)),symbols) ## measure speed, each figure beside its floor; `make bench sizes agent` measures some
	@$(if $(filter-out $(TOLD),$(or $(FIGURES),all)),target/lambda/bench/bootstrap $(filter-out $(TOLD),$(FIGURES)))
	@$(if $(filter cost,$(or $(FIGURES),cost)),$(STORIES) cost:: --nocapture)
	@$(if $(filter rate,$(or $(FIGURES),rate)),$(STORIES) rate:: --nocapture --ignored)

screenshots: build .venv/test-tools.stamp ## pictures of every page of the console, in target/console
	@cargo nextest run -p easyconnect-tests -E 'test(/browser_finds_its_way|console_shows/)' && ls target/console

package: build ## Lambda zips, the agent's .deb, .rpm and tarball, in dist/
	@.venv/bin/python infra/package.py --arch $(shell uname -m) --cross

key: ## make an API key and its hash
	@$(STACK) key

build: .venv/tools.stamp ## build everything that `make up` runs
	@echo "== build (the first one takes some minutes)"
	@$(BUILD)

# The functions as they are deployed, with the names that callgrind shows.
symbols:
	@cargo build --quiet --profile symbols -p fanout -p deliver

clean: down ## remove everything that was built; ends the stack first
	@rm -rf target dist .venv .aws-sam tests/node/node_modules

# Tools. The stamps make a second run work without a network.
.venv/tools.stamp: infra/local/requirements.txt
	@infra/check-prerequisites.sh
	@echo "== tools"
	@python3 -m venv --clear .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv/test-tools.stamp: infra/local/requirements-test.txt tests/node/package-lock.json .venv/tools.stamp
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix tests/node; \
		else echo "Node is not installed: the tests that need it will be skipped"; fi
	@touch $@

# Its pins clash with those of the other tools.
.venv/checkov.stamp: .venv/tools.stamp
	@python3 -m venv --clear .venv/checkov
	@.venv/checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30
	@touch $@
