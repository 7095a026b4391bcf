# One image for every role: `reconciler serve webserver|daemon|code|worker|portal|listener`, and for
# the migration, `reconciler migrate`. What a process writes goes to /run/reconciler and /tmp alone,
# so the root file system may be read-only.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /app
WORKDIR /src
# The packages change seldom: a layer of their own. Exactly those of the lock, without what only
# development needs, and without the embedded Postgres.
COPY pyproject.toml requirements.lock scripts/image_packages.py ./
RUN /app/bin/python image_packages.py > wanted.txt \
    && /app/bin/pip install --quiet --requirement wanted.txt --constraint requirements.lock
COPY . .
RUN /app/bin/pip install --quiet --no-deps . \
    && /app/bin/pip uninstall --quiet --yes setuptools pip

FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --user-group --home-dir /run/reconciler --no-create-home reconciler
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RECONCILER_STATE_DIR=/run/reconciler \
    DAGSTER_DISABLE_TELEMETRY=true
RUN install --directory --owner=10001 --group=10001 --mode=0700 /run/reconciler
USER 10001:10001
WORKDIR /run/reconciler
# No entry point: Dagster's launchers start `dagster api execute_run` in this image.
# The role is RECONCILER_ROLE, unless it is given as an argument.
CMD ["reconciler", "serve"]
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["reconciler", "serve", "--check"]
