# A workspace in which a release can be planned.
ARG BASE
FROM ${BASE}
RUN cargo new --quiet --vcs none --name scratch /workspace && cd /workspace && cargo generate-lockfile
