# The image of a silo: `docker build -t grange .`. An application's image adds its module:
#
#   FROM grange
#   COPY shop.py ./
#   CMD ["run", "shop:silo"]
#
# Every installed package is pinned to its hash. No package is compiled. The process is not root. It is PID 1, so SIGTERM
# reaches it and drains the silo.

FROM python:3.13-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv /tools \
    && /tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
    && python -m venv /venv \
    && /venv/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY grange grange
RUN /tools/bin/python -m hatchling build -t wheel \
    && /venv/bin/pip install --no-deps dist/*.whl \
    && /venv/bin/pip uninstall --yes pip

FROM python:3.13-slim-bookworm AS silo
RUN useradd --system --uid 10001 --user-group --no-create-home grange \
    && install --directory --owner grange --group grange /app /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
# Silos, their probes, clients.
ENV GRANGE_PROBE_PORT=11112
EXPOSE 11111 11112 30000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s --retries=3 CMD ["grange", "status", "--here"]
ENTRYPOINT ["grange"]
CMD ["--help"]
