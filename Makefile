# `make` lists the targets. GNU make 4 or newer, a POSIX shell, Go, and what `make deps` installs.

GO        ?= go
BIN       := $(CURDIR)/bin
DATA      ?= ./kms11-data
LISTEN    ?= 127.0.0.1:8080
PREFIX    ?= /usr/local
DESTDIR   ?=
FUZZTIME  ?= 30s
UNSTABLE  ?= $(BIN)/unstable
BOOKWORM  ?= $(BIN)/bookworm
BENCHARGS ?=
XKSBENCHARGS ?=
FAULTSFOR ?= 10m
VERSION   := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

# A throwaway SoftHSM2 token for the command that follows.
with_token := ./softhsm-config/with-softhsm.sh
# The virtual environment that the tests with Python clients look for.
python_clients := $(BIN)/python-clients
# integration/clients needs more than Go and SoftHSM2: `make integration` runs it.
test_packages = $$($(GO) list ./... | grep -v -e '/integration/clients$$' -e '/integration/tokens$$')
# Analysers come pinned from tools/go.mod, which keeps them out of the product's own modules.
staticcheck := $(BIN)/tools/staticcheck
govulncheck := $(BIN)/tools/govulncheck

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps build install run test test-xks check fmt vet staticcheck vulncheck lint fuzz bench faults integration-deps integration token-deps unstable-chroot bookworm-chroot test-tokens token-matrix clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

deps: ## install SoftHSM2, a C compiler, OpenSSL, OpenSC and curl where they are missing
	@sh softhsm-config/deps.sh

build: ## build bin/kms11
	$(GO) build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION)' -o $(BIN)/kms11 ./cmd/kms11

# It does not build, so that root needs no Go and leaves no files of its own here.
install: ## install what make build made into DESTDIR and PREFIX
	@[ -x '$(BIN)/kms11' ] || { echo "install: there is no $(BIN)/kms11: run make build first" >&2; exit 1; }
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 0755 '$(BIN)/kms11' '$(DESTDIR)$(PREFIX)/bin/kms11'

run: deps build ## serve on LISTEN with the data directory DATA
	$(BIN)/kms11 serve --data '$(DATA)' --listen '$(LISTEN)'

test: deps check ## check the code and run every test that needs only Go and SoftHSM2
	$(with_token) $(GO) test -race -timeout 40m $(test_packages)

check: fmt vet staticcheck

fmt:
	@unformatted=$$(find . -name '*.go' -not -path '*/node_modules/*' -exec $$($(GO) env GOROOT)/bin/gofmt -l {} +); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...

staticcheck: $(staticcheck)
	$(staticcheck) ./...

# govulncheck leaves with 3 when it found something; any other failure here is that its database
# cannot be reached, or a defect of the module that the other targets show too.
vulncheck: $(govulncheck)
	@$(govulncheck) ./... >$(BIN)/vulncheck.log 2>&1; code=$$?; \
	if [ $$code -ne 0 ] && grep -q 'fetching vulnerabilities' $(BIN)/vulncheck.log; then \
		echo "govulncheck: the vulnerability database cannot be reached from here: nothing was checked"; \
	else cat $(BIN)/vulncheck.log; exit $$code; fi

lint: vet staticcheck vulncheck ## vet, staticcheck, govulncheck

$(BIN)/tools/%: tools/go.mod tools/go.sum
	@mkdir -p $(@D)
	cd tools && $(GO) build -buildvcs=false -o $(@D)/ $$($(GO) list -f '{{.ImportPath}}' tool | grep '/$*$$')
	@touch $@

test-xks: deps build integration-deps ## run what concerns custom and external key stores: the proxy's conformance to its specification, and both ends in loops
	$(GO) test -race -count=1 -timeout 15m ./xks
	$(with_token) $(GO) test -count=1 -timeout 15m -run 'Store|External|CloudHSM|Proxy|Connect|Vault|Unavailable|Cluster|Password|LoginCut|ObjectDeleted' ./keystore ./hsm ./ops
	$(GO) test -count=1 -timeout 15m -run XKS ./integration
	KMS11_BINARY=$(BIN)/kms11 $(GO) test -count=1 -timeout 15m -run 'ExternalKeyStore|CloudHSM' ./integration/clients

fuzz: deps ## run each fuzz target for FUZZTIME
	@for package in $$($(GO) list ./... | grep -v /integration); do \
		for target in $$($(with_token) $(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			$(with_token) $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

# Both may have -token nss, after token-deps, to measure on NSS instead of SoftHSM2.
bench: deps build ## measure the server against its floors (BENCHARGS and XKSBENCHARGS pass flags)
	$(GO) run ./integration/bench $(BENCHARGS)
	$(GO) run ./integration/bench -xks $(XKSBENCHARGS)

faults: deps ## run the server over a failing token for FAULTSFOR
	KMS11_FAULTS_FOR=$(FAULTSFOR) $(GO) test -count=1 -timeout 60m -v -run TestTokenFaults ./integration

integration-deps: ## install the AWS CLI v1, boto3 and the AWS SDK for JavaScript where they are missing
	@sh integration/clients/install.sh $(python_clients)

integration: deps build ## run AWS's clients and every black-box test against bin/kms11
	KMS11_BINARY=$(BIN)/kms11 $(GO) test -count=1 -timeout 30m -v ./integration/clients
	KMS11_BINARY=$(BIN)/kms11 KMS11_KILLS=50 $(GO) test -count=1 -timeout 30m ./integration

token-deps: deps ## install NSS, the second token of test-tokens, where it is missing
	@sh integration/tokens/deps.sh

# softhsm2 is for tests of what two libraries do, and for servers of another token than the tree's.
unstable-chroot: ## as root: make a tree of Debian unstable in UNSTABLE, for its NSS and openCryptoki, and Kryoptic
	@integration/tokens/tree.sh sid '$(UNSTABLE)' libnss3 openssl softhsm2 opencryptoki \
		cargo rustc gcc libc6-dev libssl-dev libsqlite3-dev pkg-config libclang-dev
	@integration/tokens/kryoptic.sh '$(UNSTABLE)'

bookworm-chroot: ## as root: make a tree of Debian 12 in BOOKWORM, for the tokens that kms11 refuses
	@integration/tokens/tree.sh bookworm '$(BOOKWORM)' softhsm2 opencryptoki \
		libtpm2-pkcs11-1 libtpm2-pkcs11-tools swtpm swtpm-tools tpm2-abrmd libtss2-tcti-tabrmd0 dbus

test-tokens: token-deps integration-deps ## run the suites on every kind of token that is installed (TOKENS: on those)
	@$(with_token) integration/tokens/run.sh '$(UNSTABLE)' '$(BOOKWORM)'

token-matrix: ## write the table of features and tokens into docs/tokens.md
	$(GO) run ./integration/tokens/matrix docs/tokens.md docs/tokens/*.json

clean: ## remove what was built or installed below this directory; never a data directory
	rm -rf $(BIN) integration/clients/node/node_modules
