# The head of each script describes what it installs, builds and runs.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
MUSL := x86_64-unknown-linux-musl
PREFIX ?= /usr/local
STATIC := $(CARGO_TARGET_DIR)/$(MUSL)/release/pg-backup

.PHONY: help prepare demo status-page test readme-check regress fuzz-schema check static install image image-whole sbom \
	bench bench-restore bench-memory bench-catalog bench-image profile

help:
	@echo "make demo          back up three databases to a local S3 server, restore and compare them"
	@echo "make test          check formatting, clippy and documentation, build the image, run all tests"
	@echo "make readme-check  run the commands of README.md"
	@echo "make regress       run only the comparison over PostgreSQL's own regression database"
	@echo "make fuzz-schema   compare generated databases until stopped (SEED=n: only that one)"
	@echo "make status-page   write a picture of the status page to docs/status-page.png"
	@echo "make static        build the static binary of the image"
	@echo "make install       install the static binary, its man pages and completions, into PREFIX=$(PREFIX)"
	@echo "make image         build the image with buildah, and its bill of materials: target/pg-backup.cdx.json"
	@echo "make image-whole   build the image with both stages of the Dockerfile, as \`docker build\` builds it"
	@echo "make bench         compare time, memory and size with pg_dump, into docs/benchmarks.md"
	@echo "make bench-restore compare restoring 1.3 GB with psql and pg_restore, into docs/benchmarks.md"
	@echo "make bench-memory  measure the peak memory of dumping 1.5 GB"
	@echo "make bench-catalog compare dumping 20,000 empty tables with pg_dump"
	@echo "make bench-image   measure the image's size, start time and memory"
	@echo "make profile       profile the dumps of the bench"

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
	@$(CARGO_TARGET_DIR)/debug/examples/fuzz_schema $(SEED)

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

bench: prepare static
	@scripts/prepare-bench
	@PG_BACKUP_TEST_BINARY=$(STATIC) BENCH_SCALE=$(BENCH_SCALE) cargo run --quiet --example bench -- $(PARTS)

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
