# Everything here works on a fresh machine with Go alone: tools are Go tools
# pinned in tools/, PostgreSQL is found or installed, Temporal is compiled.

SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := $(CURDIR)/bin
export GOFLAGS := -buildvcs=false

MODULES := . devstack
TOOLS   := sqlc oapi-codegen workflowcheck golangci-lint govulncheck

.PHONY: help
help: ## Show this help
	@printf 'Event Stream Engine\n\n'
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
.PHONY: dev
dev: $(BIN)/devstack ## Start everything: PostgreSQL, Temporal and its Web UI, simulator, API, worker
	@$(BIN)/devstack up

.PHONY: stop
stop: $(BIN)/devstack ## Stop what an earlier "make dev" left running
	@$(BIN)/devstack stop

.PHONY: reset
reset: $(BIN)/devstack ## Stop, then delete all local data (asks first)
	@$(BIN)/devstack reset

##@ Test
.PHONY: test
test: $(BIN)/devstack ## Run every test, on a throw-away PostgreSQL and a real Temporal server
	$(BIN)/devstack test -- go test -count=1 -timeout 20m ./...
	cd devstack && go test -count=1 -timeout 40m ./...

.PHONY: test-short
test-short: $(BIN)/devstack ## Run the quick tests only
	$(BIN)/devstack test -- go test -short ./...

$(BIN)/devstack: FORCE
	@cd devstack && go build -o $@ ./cmd/devstack

.PHONY: FORCE
FORCE:
