SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO ?= go
FUZZTIME ?= 10s
BENCHTIME ?= 1s
BENCHFLAGS ?=
GOLANGCI_VERSION := v2.15.0
GOLANGCI_PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

# The root module and the nested ones that exist.
MODULES := . $(patsubst %/go.mod,%,$(wildcard examples/go.mod internal/backendtest/go.mod internal/bench/go.mod))

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: test-alone test-race test-fuzz ## Everything a change must pass, except lint

.PHONY: test-alone
test-alone: ## Build the root module as a host gets it: alone, read-only
	GOWORK=off $(GO) build -mod=readonly ./...

.PHONY: test-race
test-race: ## Run the tests of all modules under the race detector
	@for m in $(MODULES); do echo "== race tests: $$m"; $(GO) -C "$$m" test -race -timeout 30m ./...; done

# A fuzz target is a line "func FuzzX(" in a test file; go test runs one target at a time. Minimising each new input for its
# default of 60s would leave no time to fuzz. Go 1.26 may report the end of FUZZTIME itself as a failure
# (https://go.dev/issue/75804); that report names no input, which every real failure does.
.PHONY: test-fuzz
test-fuzz: ## Run each fuzz target for FUZZTIME (default 10s)
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file _ match; do \
		name=$${match#func }; dir=$$(dirname "$$file"); echo "== fuzz: $$dir $$name"; \
		$(GO) -C "$$dir" test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x . </dev/null 2>&1 | tee "$$log" || \
		if grep -qx '    context deadline exceeded' "$$log" && ! grep -qE 'Failing input|failure while' "$$log"; \
		then echo "== fuzz: time is up, no failing input"; else exit 1; fi; \
	done

.PHONY: bench
bench: ## Compare with nanodep, as ratios (BENCH_FULL=1: with a million devices too; BENCHFLAGS: see -help)
	@$(GO) -C internal/bench run . $(BENCHFLAGS)

.PHONY: bench-all
bench-all: ## Run all Go benchmarks for BENCHTIME each (default 1s)
	@for m in $(MODULES); do echo "== benchmarks: $$m"; $(GO) -C "$$m" test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...; done

.PHONY: lint
lint: ## Check format, vet and golangci-lint in all modules
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not formatted (run make fmt):"; echo "$$files"; exit 1; fi
	@for m in $(MODULES); do echo "== vet: $$m"; $(GO) -C "$$m" vet ./...; done
	@lint=($(GO) run $(GOLANGCI_PACKAGE)); \
	for bin in "$$(command -v golangci-lint || true)" "$$($(GO) env GOPATH)/bin/golangci-lint"; do \
		if [ -x "$$bin" ] && "$$bin" version 2>/dev/null | grep -qF 'version $(GOLANGCI_VERSION:v%=%) '; then lint=("$$bin"); break; fi; \
	done; \
	for m in $(MODULES); do echo "== golangci-lint: $$m"; (cd "$$m" && "$${lint[@]}" run ./...); done

.PHONY: fmt
fmt: ## Format all Go files
	gofmt -w .
