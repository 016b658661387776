# Everything a person types from the checkout. Set-up is part of each target.
#   make up [ARGS="--runtime docker"]    a whole cluster on this machine
#   make down [PURGE=1]                  stop it; PURGE=1 leaves no trace
#   make test [RING="unit golden"]       every test, or some rings
#   make check                           types, lint, format, tidy, unit
#   make bench                           what is claimed to be fast, measured
SHELL := /bin/sh
CPU := $(if $(filter aarch64,$(shell uname -m)),arm64,x64)
NODE := node_modules/node-linux-$(CPU)/bin/node
BIN := PATH="$(CURDIR)/node_modules/node-linux-$(CPU)/bin:$$PATH" node_modules/.bin
ARGS ?=
RING ?=

.PHONY: up down status test check bench format clean

up:
	@cli/setup.sh run
	@dist/keelson up $(ARGS)

down:
	@if [ -x dist/keelson ]; then dist/keelson down $(if $(PURGE),--purge) $(ARGS); else echo "not up: nothing was ever built here"; fi

status:
	@dist/keelson status

test:
	@cli/setup.sh test
	@$(NODE) test/run.ts $(RING)

check:
	@cli/setup.sh check
	@$(BIN)/tsc --noEmit
	@$(BIN)/oxlint --type-aware
	@$(BIN)/biome format .
	@$(NODE) test/run.ts tidy unit

bench:
	@cli/setup.sh test
	@$(NODE) bench/run.ts $(ARGS)

format:
	@$(BIN)/biome format --write .

clean:
	rm -rf dist api/generated .cache
