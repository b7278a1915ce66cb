# Everything here works on a fresh machine that has Go: the tools are Go tools
# pinned in tools/go.mod, PostgreSQL is found or installed, and Temporal is
# compiled from its modules.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN     := $(CURDIR)/bin
PAGES   := api/ui/static/vendor/NOTICE
MODULES := . devstack tools

# The version is the Dockerfile's business; a checkout in a foreign folder
# must build as well.
export GOFLAGS := -buildvcs=false

.PHONY: help
help: ## Show this help
	@printf 'Event Stream Engine: WhatsApp campaigns, each message exactly once\n'
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@ / {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nPorts of make dev are moved with APP_PORT, TEMPORAL_UI_PORT, TEMPORAL_PORT,\nSIMULATOR_PORT and POSTGRES_PORT; DATABASE_URL uses a PostgreSQL of yours.\n'

##@ Run
.PHONY: dev stop reset migrate keys
dev: $(BIN)/devstack ## Start everything, rebuild on change; Ctrl-C stops it
	@exec $(BIN)/devstack up

stop: $(BIN)/devstack ## Stop what a "make dev" elsewhere runs or left running
	@$(BIN)/devstack stop

reset: $(BIN)/devstack ## Stop, then delete all local data (asks first)
	@$(BIN)/devstack reset

migrate: $(BIN)/ese $(BIN)/devstack ## Bring the database of DATABASE_URL up to date (default: that of make dev)
	@$(BIN)/devstack env -- $(BIN)/ese migrate

keys: $(BIN)/ese $(BIN)/devstack ## Make an API key: make keys ARGS="-name me -scopes read,write"
	@$(BIN)/devstack env -- $(BIN)/ese keys create $(ARGS)

##@ Test
.PHONY: test test-short
test: $(BIN)/devstack $(PAGES) ## Run every test on a throw-away PostgreSQL and a real Temporal server
	go vet ./...
	$(BIN)/devstack test -- go test -count=1 -timeout 20m ./...
	cd devstack && go vet ./... && go test -count=1 -p 1 -timeout 45m ./...
	@command -v chromium chromium-browser google-chrome $${BROWSER_PATH:-} >/dev/null || echo 'the tests of the pages were SKIPPED: there is no Chromium'

test-short: $(BIN)/devstack ## Run the quick tests of the product only
	$(BIN)/devstack test -- go test -short ./...

.PHONY: test-browser screenshots
test-browser: $(PAGES) ## Play the product through its pages in a headless Chromium: all of them, their contrast, their policy
	@command -v chromium chromium-browser google-chrome $${BROWSER_PATH:-} >/dev/null || { echo 'no Chromium: apt-get install chromium, or set BROWSER_PATH'; exit 1; }
	cd devstack && go test -count=1 -timeout 20m ./browser -v

SCREENSHOTS ?= $(CURDIR)/.local/screenshots
screenshots: $(PAGES) ## Draw every page, large and small, light and dark: make screenshots SCREENSHOTS=/tmp/pages
	cd devstack && SCREENSHOTS=$(SCREENSHOTS) go test -count=1 -timeout 20m ./browser -run '^TestScreenshots$$'
	@echo "see $(SCREENSHOTS)"

.PHONY: chaos
SEED  ?= 1
KILLS ?= 30
chaos: ## Kill processes and break the network under campaigns, then judge: make chaos SEED=1 KILLS=30
	@cd devstack && go run ./cmd/chaos -seed $(SEED) -kills $(KILLS) $(ARGS)

.PHONY: bench bench-segments bench-import scale pauses replay-record
bench: ## Measure webhooks and a campaign on this machine: make bench ARGS="-workers 4 -only campaign"
	@cd devstack && go run ./cmd/bench $(ARGS)

ROWS ?= 1000000
bench-segments: $(BIN)/devstack ## Measure counts of segments on a throw-away PostgreSQL: make bench-segments ROWS=1000000
	ROWS=$(ROWS) $(BIN)/devstack test -- go test -run '^$$' -bench '^BenchmarkSegments$$' -benchtime 5x -timeout 30m ./db
bench-import: ## Import one large file and count what came of it: make bench-import ROWS=1000000 ARGS="-kills 2"
	@cd devstack && go run ./cmd/benchimport -rows $(ROWS) $(ARGS)

RECIPIENTS ?= 100000
scale: ## Send one large campaign, watch and judge it: make scale RECIPIENTS=100000 ARGS="-workers 2"
	@cd devstack && go run ./cmd/scale -recipients $(RECIPIENTS) $(ARGS)

PAUSES ?= 20
pauses: ## Pause a campaign of 2,000 at random moments, again and again: make pauses PAUSES=20
	cd devstack && PAUSES=$(PAUSES) go test -count=1 -timeout 60m ./e2e -run '^TestPauses$$' -v

replay-record: ## Record workflow histories anew (about 3 minutes); check in what covers a new path
	@workflows/testdata/record.sh

##@ Check
.PHONY: generate verify lint vuln docker-check
generate: $(BIN)/sqlc $(BIN)/oapi-codegen ## Write the generated code anew: queries and HTTP types
	$(BIN)/sqlc generate
	cd api/internal/openapi && $(BIN)/oapi-codegen -config config.yaml ../../openapi.yaml

verify: $(BIN)/sqlc $(BIN)/oapi-codegen ## Fail on stale generated code, unformatted files, untidy modules
	$(BIN)/sqlc diff
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && cd api/internal/openapi && \
	  sed "s|^output: |&$$fresh/|" config.yaml >"$$fresh/config.yaml" && \
	  $(BIN)/oapi-codegen -config "$$fresh/config.yaml" ../../openapi.yaml && \
	  diff -u openapi.gen.go "$$fresh/openapi.gen.go" || { echo 'the HTTP types are stale: run make generate'; exit 1; }
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')) && \
	  if [[ -n "$$unformatted" ]]; then echo "not formatted (gofmt -w):"; echo "$$unformatted"; exit 1; fi
	@for module in $(MODULES); do echo "go mod tidy -diff in $$module"; (cd $$module && go mod tidy -diff); done

lint: $(BIN)/workflowcheck $(BIN)/golangci-lint ## Run go vet, workflowcheck (determinism) and golangci-lint
	go vet ./...
	$(BIN)/workflowcheck ./...
	$(BIN)/golangci-lint run ./...
	cd devstack && go vet ./... && $(BIN)/golangci-lint run --config ../.golangci.yml ./...

vuln: $(BIN)/govulncheck ## Look for known vulnerabilities in what the product calls
	@if curl -fsS --max-time 15 -o /dev/null https://vuln.go.dev/index/db.json; then \
	  $(BIN)/govulncheck ./...; \
	else \
	  echo 'govulncheck was not run: its database https://vuln.go.dev cannot be reached from here'; \
	fi

docker-check: ## Check docker-compose.yml in each of its profiles, without Docker
	cd devstack && go test -count=1 ./compose

# The styles and scripts of the pages, which the server embeds.
$(PAGES): api/ui/package-lock.json api/ui/build.js
	@if command -v npm >/dev/null; then \
	  npm ci --prefix api/ui --no-audit --no-fund && npm run build --prefix api/ui && touch $@; \
	else \
	  echo 'the pages stay plain: there is no npm'; \
	fi

# The go command knows best what has changed.
.PHONY: FORCE
FORCE:

$(BIN)/ese: FORCE
	@go build -o $@ ./cmd/ese

$(BIN)/devstack: FORCE
	@cd devstack && go build -o $@ ./cmd/devstack

$(BIN)/sqlc:          PKG := github.com/sqlc-dev/sqlc/cmd/sqlc
$(BIN)/oapi-codegen:  PKG := github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen
$(BIN)/workflowcheck: PKG := go.temporal.io/sdk/contrib/tools/workflowcheck
$(BIN)/golangci-lint: PKG := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(BIN)/govulncheck:   PKG := golang.org/x/vuln/cmd/govulncheck
$(addprefix $(BIN)/,sqlc oapi-codegen workflowcheck golangci-lint govulncheck): tools/go.mod
	@echo "building $(@F)"
	@cd tools && go build -o $@ $(PKG)
	@touch $@
