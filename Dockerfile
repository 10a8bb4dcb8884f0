# The image is the static binary, the certificate authorities that sign public endpoints, and
# nothing else: no shell, no libc, no client programs.
FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates musl-tools \
 && rustup target add x86_64-unknown-linux-musl
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
RUN cargo build --release --locked --bin pg-backup --target x86_64-unknown-linux-musl

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/x86_64-unknown-linux-musl/release/pg-backup /pg-backup
USER 65532:65532
EXPOSE 9899
# The first round may take its time; until it has ended the container is starting.
HEALTHCHECK --interval=1m --timeout=15s --start-period=1h CMD ["/pg-backup", "status", "--probe"]
ENTRYPOINT ["/pg-backup"]
