# What a person does with this repository. Every target does its own set-up; `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

SANDBOX = $$(sandbox/build.sh)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: ## check Rust and Go, install what the builds need
	@scripts/setup.sh

.PHONY: build
build: setup ## build Seaway (debug)
	cargo build --locked

.PHONY: demo
demo: build ## the whole road: sandbox, three services, a live URL, a pull request's comment
	@scripts/demo.sh

.PHONY: test
test: setup ## every test: unit, integration, house rules, the sandbox's own, end to end
	@scripts/test.sh

.PHONY: lint
lint: setup ## formatting and lints of both languages
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	cd sandbox && test -z "$$(gofmt -l .)" && CGO_ENABLED=0 go vet -trimpath ./...

.PHONY: fuzz
fuzz: setup ## every fuzz target for a minute (FUZZ_SECONDS)
	@scripts/fuzz.sh

.PHONY: bench
bench: build ## time `up` beside docker and kubectl; wants `make demo` before
	@bench/bench.py deploy

.PHONY: bench-push
bench-push: ## time pushes beside docker, skopeo, buildah, crane, ctr, BuildKit and jib (S1 to S10)
	@bench/bench.py push

.PHONY: release
release: setup ## the static release binary, and the image that holds it
	@scripts/release.sh

.PHONY: sandbox-up
sandbox-up: setup ## start a DigitalOcean account on this machine
	@$(SANDBOX) up

.PHONY: sandbox-down
sandbox-down: ## stop it and leave nothing behind
	@$(SANDBOX) down
