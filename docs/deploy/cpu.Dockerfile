# ltx2cpp on the CPU. From the top of a checkout:
#   docker build -f docs/deploy/cpu.Dockerfile -t ltx2cpp .
#   docker run --rm -v ltx2cpp-models:/models -v "$PWD:/clips" ltx2cpp \
#       generate "a red circle moves right on a blue background" -o demo.mp4
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
# Whatever CPU runs the image, not the one that builds it. pip fetches cmake and the pinned source of ggml.
RUN pip wheel --no-deps --wheel-dir /wheels /source -C cmake.define.LTX2CPP_NATIVE=OFF

FROM python:${PYTHON}
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
# Models by name and kept prompts outlive the container in the volume.
ENV HF_HOME=/models/hub XDG_CACHE_HOME=/models/cache
RUN useradd --create-home --uid 1000 ltx2cpp && mkdir -p /models /clips && chown ltx2cpp /models /clips
USER ltx2cpp
VOLUME /models
WORKDIR /clips
ENTRYPOINT ["ltx2cpp-cli"]
CMD ["--help"]
