# The image contains only the static binary and the certificate authorities that sign public
# endpoints: no shell, no libc, no client programs.
#
#   docker build -t pg-backup .
#
# `make image` builds the same image with buildah, with the binary of `make static` instead of the first stage;
# `make image-whole` runs both stages.
FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates musl-tools \
 && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY src src
ARG REVISION
RUN target=$(uname -m)-unknown-linux-musl \
 && PG_BACKUP_COMMIT="$REVISION" cargo build --release --locked --bin pg-backup --target "$target" \
 && mkdir /out \
 && cp /etc/ssl/certs/ca-certificates.crt "target/$target/release/pg-backup" /out

FROM scratch
ARG VERSION=0.1.0
ARG REVISION
LABEL org.opencontainers.image.title="pg-backup" \
      org.opencontainers.image.description="Backs up PostgreSQL databases to S3, byte for byte as pg_dump would" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/pg-backup /pg-backup
USER 65532:65532
EXPOSE 9899
# The first round may take long; the container is starting until it has ended.
HEALTHCHECK --interval=1m --timeout=15s --start-period=1h CMD ["/pg-backup", "status", "--probe"]
ENTRYPOINT ["/pg-backup"]
