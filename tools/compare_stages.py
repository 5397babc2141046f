"""How much the stages beside the transformer change with the weight type, at released widths.

    python tools/compare_stages.py FOLDER
    python tools/compare_stages.py FOLDER --stages text connectors --outliers

Networks of LTX-2.3 with random weights: two layers of Gemma, the projection of their states, two
blocks of each connector, and the codecs whole. Each is given the same seeded inputs in each type,
and the RMS difference to its result with float32 weights is printed over the RMS of that. Weights
are written into the folder and found again there. `--outliers` makes 0.1 % of the inputs of the
matrices 50 times as large: channels of Gemma's norms, of values and of feed-forward layers, and of
what the connectors are given.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from benchmarks.machine import relative_error
from compare_velocity import write_values
from numpy.typing import NDArray
from released.configs import released_config
from released.layouts import Layout, released_upsampler, released_upsampler_config
from synthetic.checkpoints import GEMMA_CONFIG, choose_tensors, write_checkpoint

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.checkpoint import open_checkpoint, read_array
from ltx2cpp.demo import demo_files

Array = NDArray[np.float32]
Results = dict[str, Array]

TYPES = ("bf16", "int8_convrot", "q8_0", "q4_k")
_VERSION = "2.3"
_LAYERS = 2
_VOCABULARY = 4096
_TOKENS = 32
_SHARE, _FACTOR = 1000, 50
# Rows that make the inputs of the matrices after them; norms of Gemma scale by 1 more than this.
_ROWS = re.compile(r"(to_v|v_proj|up_proj|net\.0\.proj)\.(weight|bias)$")
_NORMS = re.compile(r"(input|pre_feedforward)_layernorm\.weight$")
_DEEP = re.compile(r"transformer_1d_blocks\.(\d+)\.")


def text(pipe: LTX2Pipeline, _: bool) -> Results:
    """Return the last states of Gemma, and the features made of all."""
    ids = np.random.default_rng(0).integers(_VOCABULARY, size=_TOKENS, dtype=np.int32)
    video, audio = pipe.networks.prompt_encoder.features("a red circle moves right, " * 8)
    return {"states": pipe.networks.hidden_states(ids)[-1], "video": video, "audio": audio}


def connectors(pipe: LTX2Pipeline, outliers: bool) -> Results:
    """Return what the connectors make of random features."""
    configs = (pipe.models.require(f"{kind}_connector").config for kind in ("video", "audio"))
    video, audio = (_normal(_TOKENS, each.num_heads * each.head_dim) for each in configs)
    if outliers:
        for features in (video, audio):
            features[:, _chosen(features.shape[1])] *= _FACTOR
    contexts = pipe.networks.prompt_encoder.connect("features", (video, audio))
    return {"video": contexts.video, "audio": contexts.audio}


def video(pipe: LTX2Pipeline, _: bool) -> Results:
    """Return decoded frames, the latent of random ones, and one of twice the size."""
    frames = np.random.default_rng(0).integers(256, size=(9, 128, 128, 3)).astype(np.uint8)
    latent = _normal(128, 2, 4, 4)
    return {
        "decoded": pipe.decode_video(latent),
        "encoded": pipe.networks.encode_video(frames),
        "upsampled": pipe.networks.spatial_upsampler.run(latent),
    }


def sound(pipe: LTX2Pipeline, _: bool) -> Results:
    """Return a decoded spectrum, a wave, and the latent of noise."""
    mel = pipe.networks.decode_mel(_normal(8, 13, 16))
    wave = 0.1 * _normal(2, 16000)
    return {
        "spectrum": mel,
        "wave": pipe.networks.vocode(_normal(2, 25, 64) - 5),
        "encoded": pipe.networks.encode_audio(wave, 16000),
    }


STAGES: Mapping[str, tuple[tuple[str, ...], Callable[[LTX2Pipeline, bool], Results]]] = {
    "text": (("gemma", "text_projection"), text),
    "connectors": (("connectors",), connectors),
    "video": (("video_vae",), video),
    "sound": (("audio_vae", "vocoder"), sound),
}


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--types", nargs="+", default=list(TYPES))
    parser.add_argument("--outliers", action="store_true", help="plant channels of 50 times")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for stage in options.stages:
        run = STAGES[stage][1]
        files = _files(options.folder, stage, options.outliers)
        results = {}
        for weight_type in ("f32", *options.types):
            with LTX2Pipeline(files, device="cpu", weight_type=weight_type) as pipe:
                results[weight_type] = run(pipe, options.outliers)
            if weight_type != "f32":
                words = (
                    f"{name} {relative_error(got, results['f32'][name]):.2e}"
                    for name, got in results[weight_type].items()
                )
                print(f"{stage:11} {weight_type:13} {', '.join(words)}", flush=True)
    return 0


def _files(folder: Path, stage: str, outliers: bool) -> ModelFiles:
    path = _random(folder, stage)
    if outliers:
        planted = path.with_name(f"{stage}-outliers.safetensors")
        if not planted.exists():
            shutil.copy(path, planted)
            _plant(planted)
        path = planted
    if stage == "text":
        # Features are made for connectors, which do not run here.
        return ModelFiles(
            text_encoder=path,
            text_projection=path,
            connectors=_random(folder, "connectors"),
            tokenizer=demo_files().text_encoder,
        )
    if stage == "video":
        return ModelFiles(video_vae=path, spatial_upsampler=_upsampler(folder))
    return ModelFiles(connectors=path) if stage == "connectors" else ModelFiles(audio_vae=path)


def _random(folder: Path, stage: str) -> Path:
    path = folder / f"{stage}.safetensors"
    if not path.exists():
        tensors = choose_tensors(_VERSION, _LAYERS, STAGES[stage][0], _VOCABULARY)
        config = released_config(_VERSION, _LAYERS)
        config["transformer"]["connector_num_layers"] = _LAYERS
        metadata = {"config": json.dumps(config), "model_version": f"{_VERSION}.0"}
        if stage == "text":
            metadata["gemma_config"] = json.dumps(GEMMA_CONFIG)
        kept = {name: entry for name, entry in tensors.items() if _is_kept(name)}
        write_checkpoint(path, kept, metadata, seed=0)
    return path


def _upsampler(folder: Path) -> Path:
    path = folder / "upsampler.safetensors"
    if not path.exists():
        tensors: Layout = released_upsampler("spatial")
        metadata = {"config": json.dumps(released_upsampler_config("spatial"))}
        write_checkpoint(path, tensors, metadata, seed=0)
    return path


def _is_kept(name: str) -> bool:
    found = _DEEP.search(name)
    return found is None or int(found[1]) < _LAYERS


def _plant(path: Path) -> None:
    """Make channels of a bfloat16 file large, in place."""
    for name, info in open_checkpoint(path).tensors.items():
        if not (_ROWS.search(name) or _NORMS.search(name)):
            continue
        values = np.array(read_array(info))
        chosen = _chosen(len(values))
        if _NORMS.search(name):
            values[chosen] = _FACTOR - 1
        else:
            values[chosen] *= _FACTOR
        write_values(info, values)


def _chosen(count: int) -> NDArray[np.int64]:
    number = max(1, count // _SHARE)
    return np.arange(number) * (count // number) + 7


def _normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


if __name__ == "__main__":
    sys.exit(main())
