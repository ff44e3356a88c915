# `make run` and `make test` are all that a newcomer needs; both install what is missing.

SWIFT_FLAGS := --explicit-target-dependency-import-check error
# Else packages with traits get their flags in another order each time, and are built anew for it.
SWIFT_BUILD := SWIFT_DETERMINISTIC_HASHING=1 swift build
PACKAGES    := build-essential ca-certificates curl libargon2-dev libcrypt-dev libcurl4-openssl-dev libgmime-3.0-dev libsqlite3-dev pkg-config
# As the releases are built, each product by its name: without one, products of the dependencies may be built as well, of which not all can be linked so.
SWIFT_RELEASE := $(SWIFT_BUILD) -c release --static-swift-stdlib $(SWIFT_FLAGS)
BINARY      := .build/debug/password-reset

.PHONY: help run test build format lint interop image bench bench-mail bench-passwords timing packages

help: ## Show what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

run: build ## Start the service for a try: demo user, mails on this terminal
	$(BINARY) serve --dev

# All at once they starve each other, and Foundation's Process has crashed twice among them.
test: packages ## Build and run the tests
	SWIFT_DETERMINISTIC_HASHING=1 SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=16 swift test $(SWIFT_FLAGS)

build: packages ## Build the debug binary
	$(SWIFT_BUILD) $(SWIFT_FLAGS) --product password-reset

format: ## Settle the layout of the code
	swift format --in-place --recursive Package.swift Sources Tests

lint: ## Check the layout of the code
	swift format lint --strict --recursive Package.swift Sources Tests

interop: build ## Test side by side with Django, from PyPI
	Tests/Interop/run $(BINARY)

image: ## Build the container image and try it, without Docker; as root
	Tests/Image/run

bench: packages ## Measure beside bare routes, plain SQLite and Django; BENCH="--help" tells the options
	@$(MAKE) --no-print-directory packages PACKAGES="wrk postfix python3-venv"
	$(SWIFT_RELEASE) --product password-reset
	$(SWIFT_RELEASE) --product Bench
	Tests/Bench/run $(BENCH)

bench-mail: packages ## Measure mail beside Postfix's load generator
	@command -v /usr/sbin/smtp-sink >/dev/null || $(MAKE) --no-print-directory packages PACKAGES=postfix
	$(SWIFT_RELEASE) --product password-reset
	Tests/Interop/run .build/release/password-reset --benchmark-mail

bench-passwords: packages ## Measure hashing beside Python's
	$(SWIFT_RELEASE) --product password-reset
	Tests/Interop/run .build/release/password-reset --benchmark

timing: packages ## Measure whether the time of a reply tells accounts apart
	$(SWIFT_RELEASE) --product password-reset
	$(SWIFT_RELEASE) --product Timing
	.build/release/Timing

# Debian's packages, if one is missing; sudo if need be.
packages:
	@command -v swift >/dev/null || { echo "Swift is missing: install a toolchain, 6.2 or newer, from https://www.swift.org/install/linux/" >&2; exit 1; }
	@missing=""; for package in $(PACKAGES); do \
	  dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] || { \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "Installing$$missing"; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install --yes --no-install-recommends -qq $$missing >/dev/null; \
	}
