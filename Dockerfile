# The server with the base dependencies. pip fetches the build of torch that its indexes offer; for the small
# CPU build name an index that has it:  docker build --build-arg PIP_EXTRA_INDEX_URL=... -t mismo-grpc .
FROM python:3.11-slim

ARG PIP_EXTRA_INDEX_URL
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# The dependencies change rarely: a layer of their own.
COPY requirements.lock ./
RUN pip install -r requirements.lock

# The analyses that need essentia:  docker build --build-arg EXTRAS=analysis ...  They are not in by default, because
# essentia is under the AGPL 3.0: who offers a service with it must offer that service's source (README, "Licences").
ARG EXTRAS
COPY requirements-analysis.lock ./
RUN for extra in ${EXTRAS:-}; do pip install -r "requirements-$extra.lock" || exit 1; done

COPY pyproject.toml README.md LICENSE CHANGELOG.md server.py ./
COPY mismo_grpc mismo_grpc
COPY generated generated
COPY clients/python clients/python
COPY src src
COPY scripts/healthcheck.py scripts/healthcheck.py
RUN pip install --no-deps . \
    && useradd --create-home --uid 10001 mismo \
    && install -d -o mismo -g mismo /data/jobs /data/models /music

USER mismo
ENV MISMO_HOST=0.0.0.0 \
    MISMO_GRPC_PORT=50051 \
    JOBS_DIR=/data/jobs \
    TORCH_HOME=/data/models \
    HF_HOME=/data/models/hub \
    MISMO_ALLOWED_PATH_PREFIXES='["/music"]'
VOLUME ["/data", "/music"]
EXPOSE 50051 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "scripts/healthcheck.py", "127.0.0.1:50051"]

# SIGTERM drains; the grace of the server (MISMO_GRACE_SECONDS) is shorter than docker's ten seconds.
CMD ["python", "server.py"]
