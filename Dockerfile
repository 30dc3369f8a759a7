# The image of a silo: `docker build -t grange .`. An application's image adds its module:
#
#   FROM grange
#   COPY shop.py ./
#   CMD ["run", "shop:silo"]
#
# `docker build --target flights -t grange-flights:0.1.0 .` is the image of the example.
#
# Every installed package is pinned to its hash. No package is compiled. The process is not root. It is PID 1, so SIGTERM
# reaches it and drains the silo. It works with a read-only root, if /tmp is writable.

# `scripts/pin-base` adds the digest that the registry has today, so that a release is built on known bytes.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /tools \
    && /tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
    && python -m venv /venv \
    && /venv/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE THIRD_PARTY_NOTICES.md ./
COPY requirements/grange.cdx.json requirements/
COPY grange grange
COPY docs/runbooks docs/runbooks
RUN /tools/bin/python -m hatchling build -t wheel \
    && /venv/bin/pip install --no-deps dist/*.whl \
    && /venv/bin/pip uninstall --yes pip

FROM ${BASE} AS base
RUN useradd --system --uid 10001 --user-group --no-create-home grange \
    && install --directory --owner grange --group grange /app /data \
    && pip uninstall --yes --no-cache-dir --root-user-action ignore pip
COPY --from=build /venv /venv
COPY deploy/image/health.py /
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
# The probe port is fixed, because a free one cannot be exposed. Silos, their probes, clients, operators.
ENV GRANGE_PROBE_PORT=11112 GRANGE_DATA=/data
EXPOSE 11111 11112 30000 8080
STOPSIGNAL SIGTERM
# The admin port answers from a thread of its own, also while a turn blocks the silo; with TLS or without.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=6 CMD ["python", "/health.py", "/livez"]
ENTRYPOINT ["grange"]
CMD ["--help"]

FROM base AS flights
COPY examples examples
CMD ["run", "examples.flights.app:silo"]

FROM base AS silo
