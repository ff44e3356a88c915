# To get started, you only need `make run` and `make test`. Both install missing Debian packages.

SWIFT_FLAGS := --explicit-target-dependency-import-check error
# Without this variable, packages with traits get their flags in a different order each time, and are rebuilt.
SWIFT_BUILD := SWIFT_DETERMINISTIC_HASHING=1 swift build
PACKAGES    := build-essential ca-certificates curl libargon2-dev libcrypt-dev libcsv-dev libcurl4-openssl-dev libgmime-3.0-dev libpq-dev libsqlite3-dev pkg-config
# Builds like a release. Always name a product: without one, SwiftPM may also build products of the dependencies, and not
# all of those can be linked statically.
SWIFT_RELEASE := $(SWIFT_BUILD) -c release --static-swift-stdlib $(SWIFT_FLAGS)
# Optimizes C in debug builds: without that, hashing a password takes seconds.
SWIFT_DEBUG := $(SWIFT_FLAGS) -Xcc -O2 -Xcxx -O2
BINARY      := .build/debug/password-reset

.PHONY: help run example test build format lint faults system simulate fuzz package package-test bench bench-mail bench-passwords timing packages

help: ## List all targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

run: build ## Try the service: demo user, emails printed to this terminal
	$(BINARY) serve --dev

example: packages ## Run the example of a Hummingbird application with password reset, on port 3000
	$(SWIFT_BUILD) $(SWIFT_DEBUG) --product HummingbirdSite
	.build/debug/HummingbirdSite

# Limit the parallelism: all tests at once starve each other.
test: packages ## Build and run the tests; TEST="--filter Store" passes arguments
	@$(MAKE) --no-print-directory packages PACKAGES=postgresql
	SWIFT_DETERMINISTIC_HASHING=1 SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH=16 swift test $(SWIFT_DEBUG) $(TEST)

faults: ## Let every operation of a database fail once, for some minutes; `make test` tries a few of them
	FAULTS=all $(MAKE) --no-print-directory test TEST="--filter FaultTests"

build: packages ## Build the debug binary
	$(SWIFT_BUILD) $(SWIFT_DEBUG) --product password-reset

format: ## Format the code
	swift format --in-place --recursive Package.swift Sources Tests Benchmarks Examples

lint: ## Check the format of the code, and the words
	swift format lint --strict --recursive Package.swift Sources Tests Benchmarks Examples
	.ci/lint-words

system: build ## Test the program from outside: with Django, mail servers, HTTP clients; PYTEST="-k tokens" passes arguments
	$(SWIFT_BUILD) $(SWIFT_DEBUG) --product HummingbirdSite
	Tests/System/run $(BINARY) $(PYTEST)

simulate: packages ## Simulate the outbox under faults; SEEDS=1-1000000 chooses the schedules, SEEDS=17 shows what happens in one
	$(SWIFT_RELEASE) --product Simulate
	.build/release/Simulate $(SEEDS)

fuzz: packages ## Fuzz the parsers with libFuzzer; TARGET=json SECONDS=3600 choose what and how long, INPUT=file replays
	@Tests/Fuzz/run $(or $(TARGET),all) $(or $(SECONDS),60) $(INPUT)

package: packages ## Build the Debian package; BINARY=PROGRAM packages a program that is built already
	@$(MAKE) --no-print-directory packages PACKAGES="debhelper git python3"
ifneq ($(origin BINARY), command line)
	$(SWIFT_RELEASE) --product password-reset
	deploy/debian/build .build/release/password-reset
else
	deploy/debian/build $(BINARY)
endif

package-test: packages ## Install, use, upgrade and remove the package of a release on a clean Debian 12; as root
	@$(MAKE) --no-print-directory packages PACKAGES="debhelper debootstrap fish git lintian mandoc python3-venv systemd-container zsh"
	$(SWIFT_RELEASE) --product password-reset
	[ -e .build/debian-12/etc/debian_version ] || debootstrap --variant=minbase --include=curl,systemd,systemd-sysv bookworm .build/debian-12
	MACHINE_ROOT=$(CURDIR)/.build/debian-12 Tests/System/run .build/release/password-reset Tests/System/operations/test_package.py
	deploy/debian/test-on-systemd "$$(COMPRESSION=none deploy/debian/build .build/release/password-reset .build/package-test)" .build/debian-12

bench: packages ## Benchmark against nginx, plain SQLite, Django, Rails or another build; BENCH="--help" lists the options
	@$(MAKE) --no-print-directory packages PACKAGES="wrk postfix postgresql python3-venv nginx-light h2o \
	  puma ruby-devise ruby-pg ruby-railties ruby-sqlite3"
	$(SWIFT_RELEASE) --product password-reset
	$(SWIFT_RELEASE) --product BareServer
	Benchmarks/run load $(BENCH)

bench-mail: packages ## Benchmark sending email against Postfix's load generator
	@command -v /usr/sbin/smtp-sink >/dev/null || $(MAKE) --no-print-directory packages PACKAGES=postfix
	$(SWIFT_RELEASE) --product password-reset
	Benchmarks/run mail

bench-passwords: packages ## Benchmark password hashing against Python
	$(SWIFT_RELEASE) --product password-reset
	$(SWIFT_RELEASE) --product BareServer
	Benchmarks/run passwords

timing: packages ## Measure whether response times reveal which accounts exist; TIMING="--help" lists the options
	@$(MAKE) --no-print-directory packages PACKAGES="postgresql python3-venv"
	$(SWIFT_RELEASE) --product password-reset
	$(SWIFT_RELEASE) --product Timing
	Benchmarks/run timing $(TIMING)

# Installs missing Debian packages, with sudo if necessary.
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
