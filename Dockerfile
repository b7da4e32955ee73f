# The server as an image.
#
#   docker build -t mismo-grpc .                          for the CPU (target cpu)
#   docker build -t mismo-grpc:cuda --target cuda .       for NVIDIA cards:  docker run --gpus all ... mismo-grpc:cuda
#
# Both targets have what the stage `build` installs, and differ in the build of torch. Its usual build for Linux on x86-64
# brings CUDA's libraries along (gigabytes), so the host needs nothing but the driver and the image no CUDA base. For the
# much smaller CPU build name an index that has it:  --build-arg PIP_EXTRA_INDEX_URL=...

FROM python:3.11-slim AS build

ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /build
RUN python -m venv /opt/venv
ENV PATH="/opt/venv/bin:$PATH"

# The dependencies change rarely: a layer of their own.
COPY requirements.lock ./
RUN pip install -r requirements.lock

# Extras:  --build-arg EXTRAS="analysis generation".  Nothing is in by default. `analysis` installs essentia, which is under
# the AGPL 3.0: who offers a service with it must offer that service's source (README, "Licences").
ARG EXTRAS=""
COPY requirements-*.lock ./
RUN for extra in $EXTRAS; do \
        [ -f "requirements-$extra.lock" ] || { echo "EXTRAS: the image has no extra $extra" >&2; exit 1; }; \
        pip install -r "requirements-$extra.lock" || exit 1; \
    done

COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY mismo_grpc mismo_grpc
COPY generated generated
COPY clients/python clients/python
RUN pip install --no-deps .

# Fails where the index offered the CPU build of torch: the image would compute on the CPU and not say so.
FROM build AS build-cuda
RUN python -c "import sys, torch; sys.exit(None if torch.version.cuda else f'torch {torch.__version__} has no CUDA: build the target cuda without an index of CPU builds (PIP_EXTRA_INDEX_URL)')"

# Everything but the packages.
FROM python:3.11-slim AS runtime

RUN useradd --create-home --uid 10001 --user-group mismo \
    && install -d -o mismo -g mismo /data /data/jobs /models /models/hub /music

WORKDIR /app
COPY server.py LICENSE ./
COPY src src
COPY scripts/healthcheck.py scripts/healthcheck.py

# Any address of the container; jobs and models in volumes; tracks by their path only from /music.
ENV PATH="/opt/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MISMO_HOST=0.0.0.0 \
    MISMO_GRPC_PORT=50051 \
    JOBS_DIR=/data/jobs \
    TORCH_HOME=/models \
    HF_HOME=/models/hub \
    MISMO_ALLOWED_PATH_PREFIXES='["/music"]'
VOLUME ["/data", "/models", "/music"]
EXPOSE 50051 8000

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "scripts/healthcheck.py", "127.0.0.1:50051"]

# mismo, by its number, so that an orchestrator can see that it is not root.
USER 10001:10001
# SIGTERM drains; the grace of the server (MISMO_GRACE_SECONDS) is shorter than docker's ten seconds.
CMD ["python", "server.py"]

FROM runtime AS cuda
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/venv /opt/venv

FROM runtime AS cpu
COPY --from=build /opt/venv /opt/venv
