# One file, three images: controlplane, dataplane and sdk (the command line). `make images` builds them; by hand:
#   docker build --target dataplane -t headgate-dataplane .
# BASE: an image of Debian 12 or newer with Python 3.11 or newer and pip. What is built in it is copied to RUNTIME_BASE, an
# empty one by default: without a shell and a package manager.
ARG BASE=python:3.11-slim-bookworm
ARG RUNTIME_BASE=scratch

FROM ${BASE} AS build
# A compiler for the request path, and strip. BASE may bring them.
RUN command -v cc >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; }
WORKDIR /src
# PIP_BUILD_CONSTRAINT: newer versions of pip do not apply the other one to build environments.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_ROOT_USER_ACTION=ignore \
    PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt
# Nothing of a build may be in what is built: the order of sets, names of temporary folders, the linker's identifier.
ENV PYTHONHASHSEED=0 CFLAGS=-g0 LDFLAGS=-Wl,--build-id=none
COPY constraints.txt VERSION LICENSE ./

# What follows depends on as little as it can: a commit that leaves the data plane alone does not compile it again. Only
# the stages that lay out files know SOURCE_DATE_EPOCH, the time of all files, which each commit changes.
FROM build AS runtime
COPY deploy/rootfs deploy/rootfs
COPY deploy/healthcheck.py deploy/
ARG SOURCE_DATE_EPOCH=1580601600
ENV SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH
# The home of the images' user, which a COPY of its own makes that user's.
RUN python3 -m deploy.rootfs runtime /image && mkdir -p /homes/headgate && touch -d @$SOURCE_DATE_EPOCH /homes/headgate

FROM build AS api
COPY proto proto
RUN python3 -m venv --without-pip /opt/headgate && python3 -m pip wheel --no-deps --wheel-dir /wheels ./proto

# The base's pip fills an environment that has none itself. Others' packages are installed from wheels alone: a source
# distribution would be built with whatever is there.
FROM api AS install-controlplane
# The dashboard's assets come with the sources if `make dashboard` has built them, as `make images` does. Otherwise they are
# built here, which needs the registry of npm; without it the image has no dashboard. DASHBOARD=require makes that an error.
ARG DASHBOARD=
COPY dashboard dashboard
COPY controlplane controlplane
RUN HEADGATE_DASHBOARD=$DASHBOARD python3 -m pip wheel --no-deps --wheel-dir /wheels ./controlplane
RUN python3 -m pip --python /opt/headgate/bin/python install --only-binary :all: /wheels/headgate_api-*.whl "headgate-controlplane[otlp] @ file://$(echo /wheels/headgate_controlplane-*.whl)"

FROM build AS compile
ARG COMPILE=true
COPY dataplane dataplane
RUN HATCH_BUILD_HOOK_ENABLE_CUSTOM=$COMPILE python3 -m pip wheel --no-deps --wheel-dir /wheels ./dataplane

FROM api AS install-dataplane
COPY --from=compile /wheels/ /wheels/
RUN python3 -m pip --python /opt/headgate/bin/python install --only-binary :all: /wheels/*.whl

FROM api AS install-sdk
COPY sdk sdk
RUN python3 -m pip wheel --no-deps --wheel-dir /wheels ./sdk
RUN python3 -m pip --python /opt/headgate/bin/python install --only-binary :all: /wheels/headgate_api-*.whl "headgate-sdk[cli] @ file://$(echo /wheels/headgate_sdk-*.whl)"

FROM runtime AS layer-controlplane
COPY --from=install-controlplane /opt/headgate /opt/headgate
RUN python3 -m deploy.rootfs environment /opt/headgate /layer "headgate-controlplane[otlp]" /image

FROM runtime AS layer-dataplane
COPY --from=install-dataplane /opt/headgate /opt/headgate
RUN python3 -m deploy.rootfs environment /opt/headgate /layer headgate-dataplane /image

FROM runtime AS layer-sdk
COPY --from=install-sdk /opt/headgate /opt/headgate
RUN python3 -m deploy.rootfs environment /opt/headgate /layer "headgate-sdk[cli]" /image

FROM ${RUNTIME_BASE} AS image
COPY --from=runtime /image/ /
COPY --from=runtime --chown=65532:65532 /homes/ /var/lib/
USER 65532:65532
WORKDIR /var/lib/headgate
ENV PATH=/opt/headgate/bin:/usr/local/bin:/usr/bin:/bin HOME=/var/lib/headgate \
    LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM image AS controlplane
LABEL org.opencontainers.image.title="Headgate control plane" \
      org.opencontainers.image.description="Keeps routes, scopes, limits and services in etcd and streams them to data planes"
COPY --from=layer-controlplane /layer/ /
ENV ADMIN_LISTEN=0.0.0.0:8080 GRPC_LISTEN=0.0.0.0:50051
EXPOSE 8080 50051
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["python3", "-IS", "/opt/headgate-healthcheck.py", "ADMIN_LISTEN"]
ENTRYPOINT ["headgate-controlplane"]

FROM image AS dataplane
LABEL org.opencontainers.image.title="Headgate data plane" \
      org.opencontainers.image.description="Proxies requests and enforces tokens, scopes, limits and breakers"
COPY --from=layer-dataplane /layer/ /
ENV LISTEN=0.0.0.0:8000 STATUS_LISTEN=0.0.0.0:8001 CACHE_DIR=/var/lib/headgate/cache
EXPOSE 8000 8001
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s CMD ["python3", "-IS", "/opt/headgate-healthcheck.py", "STATUS_LISTEN"]
ENTRYPOINT ["headgate-dataplane"]

FROM image AS sdk
LABEL org.opencontainers.image.title="Headgate command line and SDK" \
      org.opencontainers.image.description="The command headgate: apply, diff, get, status, register, drain"
COPY --from=layer-sdk /layer/ /
ENTRYPOINT ["headgate"]
