# Three stages: the program, codex if its version is given, and what runs.
#
#   docker build -t numerus .                                       without codex: mount one, set CODEX_BIN
#   docker build --build-arg CODEX_VERSION=0.169.0 -t numerus .     with it

FROM rust:1-slim-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked && strip target/release/numerus

FROM debian:trixie-slim AS codex
ARG CODEX_VERSION=
# Codex's own binary is static; node is only needed to fetch it, so it stays in this stage.
RUN mkdir -p /opt/codex/bin \
    && if [ -n "$CODEX_VERSION" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends ca-certificates nodejs npm \
        && npm install -g --prefix /opt/codex "@openai/codex@$CODEX_VERSION" \
        && binary="$(find /opt/codex/lib -path '*/vendor/*/bin/codex' -type f)" \
        && ln -sf "$binary" /opt/codex/bin/codex \
        && /opt/codex/bin/codex --version; \
    fi

FROM debian:trixie-slim
# tini reaps what agents leave behind; git is what Numerus works with.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --user-group --home-dir /var/lib/numerus --create-home numerus \
    && install -d -m 0755 -o numerus -g numerus /numerus /codex \
    && install -d -m 0700 -o numerus -g numerus /numerus/spool /numerus/runs /numerus/store
COPY --from=codex /opt/codex /opt/codex
COPY --from=build /src/target/release/numerus /usr/local/bin/numerus
# CODEX_HOME lies apart from TMPDIR: below it, codex would not set up its sandbox.
ENV NUMERUS_ROOT=/numerus \
    CODEX_HOME=/codex \
    HOME=/var/lib/numerus \
    PATH=/opt/codex/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /numerus
VOLUME ["/numerus/spool", "/numerus/runs", "/numerus/store"]
USER numerus
ENTRYPOINT ["/usr/bin/tini", "--", "numerus"]
CMD ["daemon", "--stop-jobs"]
