# syntax=docker/dockerfile:1

ARG BUILD_IMAGE=swift:6.3-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

# Builds the dependencies, with empty files instead of this project's sources, so that only a change to Package.swift or to a
# C header rebuilds them.
FROM ${BUILD_IMAGE} AS dependencies
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      jq libargon2-dev libcrypt-dev libcsv-dev libcurl4-openssl-dev libgmime-3.0-dev libpq-dev libsqlite3-dev pkg-config \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Package.swift ./
COPY Sources/CArgon2 Sources/CArgon2
COPY Sources/CCrypt Sources/CCrypt
COPY Sources/CCurl Sources/CCurl
COPY Sources/CEmbeddedFiles/include Sources/CEmbeddedFiles/include
COPY Sources/CGMime Sources/CGMime
COPY Sources/CLibPQ Sources/CLibPQ
# Without SWIFT_DETERMINISTIC_HASHING, packages with traits get their flags in a different order each time, and are rebuilt.
ENV SWIFT_FLAGS="-c release --static-swift-stdlib --explicit-target-dependency-import-check error --product password-reset" \
    SWIFT_DETERMINISTIC_HASHING=1
# The build compares modification times to the nanosecond, but a layer may keep only seconds. This tar archive keeps them.
RUN swift package dump-package | jq --raw-output '.targets[] | select(.type != "system") \
      | (.path // (if .type == "test" then "Tests" else "Sources" end + "/" + .name)) as $folder \
      | $folder + (if .type == "executable" then "/main.swift" elif .name == "CEmbeddedFiles" then "/empty.c" else "/empty.swift" end), $folder + "/" + .resources[].path' > /tmp/empty \
 && while read -r file; do mkdir -p "$(dirname "$file")" && touch "$file"; done < /tmp/empty \
 && swift build $SWIFT_FLAGS \
 && tar --create --format=posix --file=/dependencies.tar .build \
 && rm -r .build Sources

FROM dependencies AS build
COPY openapi.yaml ./
COPY Sources Sources
RUN tar --extract --file=/dependencies.tar \
 && swift build $SWIFT_FLAGS \
 && install -D --strip .build/release/password-reset /out/password-reset \
 && rm -r .build

# Collects in /image the files of Debian that the program loads and reads: no shell, no package manager.
FROM ${RUNTIME_IMAGE} AS runtime
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libargon2-1 libcrypt1 libcsv3 libcurl4 libgmime-3.0-0 libpq5 libsqlite3-0 tzdata \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/password-reset /usr/local/bin/password-reset
COPY LICENSE NOTICE /usr/share/doc/password-reset/
WORKDIR /image
# Scanners read in status.d which packages the files belong to.
RUN mkdir -p usr/lib usr/lib64 var/lib/dpkg/status.d \
 && ln -s usr/lib usr/lib64 . \
 && ldd /usr/local/bin/password-reset | grep --only-matching '/[^ ]*' > /tmp/files \
 && xargs --arg-file=/tmp/files cp --dereference --parents --target-directory=. \
 && cp --archive --parents --target-directory=. \
      /etc/debian_version /etc/nsswitch.conf /etc/os-release /etc/ssl/certs/ca-certificates.crt /etc/ssl/openssl.cnf \
      /usr/lib/*-linux-gnu/gconv /usr/lib/os-release /usr/lib/ssl /usr/local/bin/password-reset /usr/share/doc/password-reset /usr/share/zoneinfo \
 && { sed 's|^.*/|*/|' /tmp/files | xargs dpkg-query --search | sed 's/:.*//'; printf '%s\n' base-files ca-certificates tzdata; } | sort --unique \
    | while read -r package; do \
        dpkg-query --status "$package" > "var/lib/dpkg/status.d/$package" \
        && cp --archive --parents "/usr/share/doc/$package/copyright" . || exit 1; \
      done \
 && printf 'root:x:0:0:root:/:/sbin/nologin\npassword-reset:x:10001:10001::/data:/sbin/nologin\n' > etc/passwd \
 && printf 'root:x:0:\npassword-reset:x:10001:\n' > etc/group \
 && mkdir dev proc run sys \
 && chmod --recursive go=u-w . \
 && install --directory --mode=1777 tmp \
 && install --directory --mode=0700 /volumes/data

FROM scratch
COPY --from=runtime /image /
COPY --from=runtime --chown=10001:10001 /volumes /
LABEL org.opencontainers.image.title="password-reset" \
      org.opencontainers.image.description="Django's password reset as one small native service" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV PATH=/usr/local/bin HTTP_HOST=0.0.0.0 DATABASE_URL=sqlite:/data/password-reset.sqlite3
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 CMD ["password-reset", "health"]
ENTRYPOINT ["password-reset"]
CMD ["serve"]
