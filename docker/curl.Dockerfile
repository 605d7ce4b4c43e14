# A distribution with curl, by which its users fetch the script; most have it, and need nothing here.
ARG BASE
FROM ${BASE}
RUN command -v curl || apk add --no-cache curl || \
    { apt-get update && apt-get install --yes --no-install-recommends ca-certificates curl; }
