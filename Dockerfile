# Seaway and the certificates that it trusts, nothing else. The context is a folder with the static binary in it, as
# `make release` leaves it in dist/:
#
#   docker build --file Dockerfile --build-arg SEAWAY=seaway --build-arg VERSION=0.1.0 dist
#
# For several platforms at once BuildKit names each one's binary: dist/seaway-amd64, dist/seaway-arm64.
FROM scratch

ARG TARGETARCH
ARG SEAWAY=seaway-${TARGETARCH}
ARG VERSION=0.0.0
ARG REVISION=unknown

LABEL org.opencontainers.image.title="Seaway" \
      org.opencontainers.image.description="From one deploy.yml to a live URL on DigitalOcean Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/seaway-deploy/seaway" \
      org.opencontainers.image.url="https://github.com/seaway-deploy/seaway" \
      org.opencontainers.image.documentation="https://github.com/seaway-deploy/seaway/blob/main/docs/deploy-yml.md" \
      org.opencontainers.image.vendor="The Seaway authors" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY ${SEAWAY} /seaway

# No USER: a workflow's workspace belongs to whoever checked it out, and only root may read it everywhere
# (https://docs.github.com/en/actions/reference/workflows-and-actions/dockerfile-support#user).
# /tmp first: a folder that does not exist is made by this.
WORKDIR /tmp
WORKDIR /work

# Exec form: no shell that would drop variables such as INPUT_GITHUB-TOKEN, and signals arrive.
ENTRYPOINT ["/seaway"]
