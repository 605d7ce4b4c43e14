# The registry's program in a distribution, as `docker-smoke` tries it.
ARG BASE
FROM ${BASE}
COPY consign-server /usr/local/bin/consign-server
