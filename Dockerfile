# One image per plane, from one file:
#   docker build --target controlplane -t headgate-controlplane .
#   docker build --target dataplane    -t headgate-dataplane .
# BASE takes any image with Python 3.11 or newer.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/src/constraints.txt
COPY constraints.txt VERSION ./
COPY proto proto
RUN python3 -m venv /opt/headgate && /opt/headgate/bin/pip install ./proto

FROM build AS build-controlplane
COPY controlplane controlplane
RUN /opt/headgate/bin/pip install ./controlplane

FROM build AS build-dataplane
# The request path is compiled: BASE needs Debian's packages and Python's headers for that. COMPILE=false leaves it out.
ARG COMPILE=true
RUN if [ "$COMPILE" = true ]; then apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; fi
COPY dataplane dataplane
RUN HATCH_BUILD_HOOK_ENABLE_CUSTOM=$COMPILE /opt/headgate/bin/pip install ./dataplane

FROM ${BASE} AS runtime
RUN useradd --system --uid 65532 --home-dir /var/lib/headgate --create-home headgate
USER 65532
WORKDIR /var/lib/headgate
ENV PATH=/opt/headgate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

FROM runtime AS controlplane
COPY --from=build-controlplane /opt/headgate /opt/headgate
ENV ADMIN_LISTEN=0.0.0.0:8080 GRPC_LISTEN=0.0.0.0:50051
EXPOSE 8080 50051
ENTRYPOINT ["headgate-controlplane"]

FROM runtime AS dataplane
COPY --from=build-dataplane /opt/headgate /opt/headgate
ENV LISTEN=0.0.0.0:8000 STATUS_LISTEN=0.0.0.0:8001 CACHE_DIR=/var/lib/headgate/cache
EXPOSE 8000 8001
ENTRYPOINT ["headgate-dataplane"]
