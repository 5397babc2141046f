# ltx2cpp on NVIDIA GPUs. From the top of a checkout, on any machine:
#   docker build -f docs/deploy/cuda.Dockerfile -t ltx2cpp-cuda .
# and where the GPU is, with NVIDIA's container toolkit:
#   docker run --rm --gpus all -v ltx2cpp-models:/models -v "$PWD:/clips" ltx2cpp-cuda \
#       generate "a red fox trots through fresh snow" -m ltx-2.3-distilled -o fox.mp4
# Without a GPU it computes on the CPU.
ARG CUDA=12.8.1
ARG SYSTEM=ubuntu24.04

FROM nvidia/cuda:${CUDA}-devel-${SYSTEM} AS build
# Code for these cards; each costs about eight minutes of one core.
ARG ARCHITECTURES=80-real;86-real;89-real;90-real;120
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/build && /opt/build/bin/pip install --upgrade pip
COPY . /source
RUN /opt/build/bin/pip wheel --no-deps --wheel-dir /wheels /source \
    -C cmake.define.LTX2CPP_NATIVE=OFF -C cmake.define.LTX2CPP_CUDA=ON \
    -C "cmake.define.CMAKE_CUDA_ARCHITECTURES=${ARCHITECTURES}"

# Has cuBLAS and cudart; the driver comes from the machine.
FROM nvidia/cuda:${CUDA}-runtime-${SYSTEM}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN python3 -m venv /opt/ltx2cpp && /opt/ltx2cpp/bin/pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
ENV PATH=/opt/ltx2cpp/bin:$PATH HF_HOME=/models/hub XDG_CACHE_HOME=/models/cache
RUN useradd --create-home ltx2cpp && mkdir -p /models /clips && chown ltx2cpp /models /clips
USER ltx2cpp
VOLUME /models
WORKDIR /clips
ENTRYPOINT ["ltx2cpp-cli"]
CMD ["--help"]
