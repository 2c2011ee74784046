# One image per plane, from one file:
#   docker build --target controlplane -t headgate-controlplane .
#   docker build --target dataplane    -t headgate-dataplane .
# BASE takes any image with Python 3.11 or newer and pip. The images say what they are made of where it is given:
#   --build-arg VERSION="$(cat VERSION)" --build-arg REVISION="$(git rev-parse HEAD)"
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/src/constraints.txt
COPY constraints.txt VERSION LICENSE ./
COPY proto proto
# The base's pip fills an environment that has none itself.
RUN python3 -m venv --without-pip /opt/headgate && python3 -m pip --python /opt/headgate/bin/python install ./proto

FROM build AS build-controlplane
COPY controlplane controlplane
RUN python3 -m pip --python /opt/headgate/bin/python install ./controlplane

FROM build AS build-dataplane
# The request path is compiled: BASE needs Debian's packages and Python's headers for that. COMPILE=false leaves it out.
ARG COMPILE=true
RUN if [ "$COMPILE" = true ]; then apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; fi
COPY dataplane dataplane
RUN HATCH_BUILD_HOOK_ENABLE_CUSTOM=$COMPILE python3 -m pip --python /opt/headgate/bin/python install ./dataplane

FROM ${BASE} AS runtime
# Nothing is installed in a running container: not even the base's pip, nor the wheels of it that venv would use.
RUN (PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip uninstall --yes --root-user-action=ignore setuptools wheel pip || true) \
    && rm -rf /usr/local/lib/python3*/ensurepip /usr/lib/python3*/ensurepip \
    && useradd --system --uid 65532 --home-dir /var/lib/headgate --create-home headgate
COPY deploy/healthcheck.py /opt/headgate-healthcheck.py
USER 65532
WORKDIR /var/lib/headgate
ENV PATH=/opt/headgate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM runtime AS controlplane
LABEL org.opencontainers.image.title="Headgate control plane" \
      org.opencontainers.image.description="Keeps routes, scopes, limits and services in etcd and streams them to data planes"
COPY --from=build-controlplane /opt/headgate /opt/headgate
ENV ADMIN_LISTEN=0.0.0.0:8080 GRPC_LISTEN=0.0.0.0:50051
EXPOSE 8080 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python3", "/opt/headgate-healthcheck.py", "ADMIN_LISTEN"]
ENTRYPOINT ["headgate-controlplane"]

FROM runtime AS dataplane
LABEL org.opencontainers.image.title="Headgate data plane" \
      org.opencontainers.image.description="Proxies requests and enforces tokens, scopes, limits and breakers"
COPY --from=build-dataplane /opt/headgate /opt/headgate
ENV LISTEN=0.0.0.0:8000 STATUS_LISTEN=0.0.0.0:8001 CACHE_DIR=/var/lib/headgate/cache
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python3", "/opt/headgate-healthcheck.py", "STATUS_LISTEN"]
ENTRYPOINT ["headgate-dataplane"]
