# syntax=docker/dockerfile:1

FROM swift:6.3-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libargon2-dev libcrypt-dev libcurl4-openssl-dev libgmime-3.0-dev libsqlite3-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# The dependencies first: they change less often than the sources.
COPY Package.swift ./
RUN swift package resolve
COPY openapi.yaml ./
COPY Sources Sources
COPY Tests Tests
RUN swift build -c release --static-swift-stdlib --explicit-target-dependency-import-check error --product password-reset \
 && install -D --strip .build/release/password-reset /out/password-reset

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libargon2-1 libcrypt1 libcurl4 libgmime-3.0-0 libsqlite3-0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /data password-reset \
 && install --directory --owner=password-reset --mode=0700 /data
COPY --from=build /out/password-reset /usr/local/bin/password-reset
USER password-reset
WORKDIR /data
VOLUME /data
ENV HTTP_HOST=0.0.0.0 DATABASE_URL=sqlite:/data/password-reset.sqlite3
EXPOSE 8080
ENTRYPOINT ["password-reset"]
CMD ["serve"]
