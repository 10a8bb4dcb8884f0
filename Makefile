# The head of each script describes what it installs, builds and runs.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
MUSL := x86_64-unknown-linux-musl
PREFIX ?= /usr/local
STATIC := $(CARGO_TARGET_DIR)/$(MUSL)/release/pg-backup

.PHONY: help prepare demo status-page test readme-check regress fuzz-schema fuzz-script fuzz-toc fuzz-manifest \
	fuzz-wire fuzz-conninfo check static install image image-whole sbom \
	bench bench-restore bench-script bench-reader bench-memory bench-catalog bench-image profile

help:
	@echo "make demo          three databases to a local S3 and back again, compared"
	@echo "make test          formatting, clippy, unit and integration tests"
	@echo "make readme-check  the commands of README.md, as they stand there"
	@echo "make regress       the comparison over PostgreSQL's own regression database alone"
	@echo "make fuzz-schema   generated databases, compared until stopped (SEED=n: that one alone; MAJOR=n: on that major)"
	@echo "make fuzz-script   generated scripts for the reader of plain dumps, until stopped or for MINUTES=m (SEED=n: that one"
	@echo "                   alone); likewise fuzz-toc, fuzz-manifest, fuzz-wire (a server's messages), fuzz-conninfo"
	@echo "make status-page   a picture of the status page, into docs/status-page.png"
	@echo "make static        the static binary that the image holds"
	@echo "make install       the static binary, its man pages and completions, into PREFIX=$(PREFIX)"
	@echo "make image         the image, built with buildah, and its bill of materials: target/pg-backup.cdx.json"
	@echo "make image-whole   the image as \`docker build\` makes it, with the Dockerfile's first stage, which compiles"
	@echo "make bench         time, memory and size beside pg_dump's, into docs/benchmarks.md"
	@echo "make bench-restore time and memory of restoring 1.3 GB beside psql's and pg_restore's, into docs/benchmarks.md"
	@echo "make bench-script  time of restoring 500 MB of INSERTs beside psql's, and how fast scripts are read"
	@echo "make bench-memory  the peak memory of dumping 1.5 GB"
	@echo "make bench-catalog time and memory of dumping 20,000 empty tables, beside pg_dump's"
	@echo "make bench-image   the image's size, start and memory"
	@echo "make profile       where the time of the bench's dumps goes"

# Everything that the tests need.
prepare:
	@scripts/prepare

demo:
	@scripts/prepare-demo
	@cargo build --quiet --example demo --bin pg-backup
	@cargo run --quiet --example demo

status-page: prepare
	@cargo run --quiet --example status_page

test: check image
	@scripts/prepare-regress
	@scripts/run-tests

readme-check: prepare image
	@scripts/run-tests readme

regress: prepare
	@scripts/prepare-regress
	@scripts/run-tests regress

fuzz-schema: prepare
	@cargo build --quiet --example fuzz_schema --bin pg-backup
	@MAJOR=$(or $(MAJOR),15) $(CARGO_TARGET_DIR)/debug/examples/fuzz_schema $(SEED)

# They need no server; the last one asks libpq.
fuzz-conninfo: prepare
fuzz-script fuzz-toc fuzz-manifest fuzz-wire fuzz-conninfo:
	@cargo build --quiet --example fuzz
	@MINUTES=$(MINUTES) $(CARGO_TARGET_DIR)/debug/examples/fuzz $(@:fuzz-%=%) $(SEED)

check: prepare
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

static:
	@scripts/prepare-static
	PG_BACKUP_COMMIT=$$(scripts/revision) cargo build --release --bin pg-backup --target $(MUSL)
	@ls -l $(STATIC)

install: static
	install -D -m 755 $(STATIC) $(DESTDIR)$(PREFIX)/bin/pg-backup
	@mkdir -p $(addprefix $(DESTDIR)$(PREFIX)/share/,man/man1 bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	@$(STATIC) man --dir $(DESTDIR)$(PREFIX)/share/man/man1
	$(STATIC) completions bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/pg-backup
	$(STATIC) completions zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_pg-backup
	$(STATIC) completions fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/pg-backup.fish

image: static sbom
	@scripts/image

image-whole: sbom
	@scripts/image --whole

sbom:
	@scripts/prepare-image
	@scripts/sbom

bench: prepare static $(if $(or $(filter script,$(PARTS)),$(if $(PARTS),,all)),bench-reader)
	@scripts/prepare-bench
	@PG_BACKUP_TEST_BINARY=$(STATIC) BENCH_SCALE=$(BENCH_SCALE) cargo run --quiet --example bench -- $(PARTS)

# Reads scripts without a server. It lies beside the static binary.
bench-reader:
	PG_BACKUP_COMMIT=$$(scripts/revision) cargo build --release --example bench_script --target $(MUSL)

bench-script:
	@$(MAKE) --no-print-directory bench PARTS=script

bench-restore:
	@$(MAKE) --no-print-directory bench PARTS=restore

bench-memory: prepare static
	@PG_BACKUP_TEST_BINARY=$(STATIC) cargo run --quiet --example bench_memory

bench-catalog: prepare static
	@PG_BACKUP_TEST_BINARY=$(STATIC) cargo run --quiet --example bench_catalog

bench-image: prepare image
	@cargo run --quiet --example bench_image

# The release binary, with its symbols.
profile: prepare
	@scripts/prepare-bench profile
	CARGO_PROFILE_RELEASE_STRIP=none cargo build --release --bin pg-backup --target $(MUSL) --target-dir $(CARGO_TARGET_DIR)/profile
	@PG_BACKUP_TEST_BINARY=$(CARGO_TARGET_DIR)/profile/$(MUSL)/release/pg-backup BENCH_SCALE=$(BENCH_SCALE) \
		cargo run --quiet --example bench -- profile
