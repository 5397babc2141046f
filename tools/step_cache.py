"""Compares generations with a step cache to the same ones with all steps computed.

    python tools/step_cache.py --prompts 8
    python tools/step_cache.py --checkpoint ltx-2.3-tiny.safetensors --text-encoder gemma-3-tiny

Without a checkpoint the demo model is guided against the empty prompt, and what its pictures show
is read from them; the model that is given is guided in all four ways. Both walk 30 steps of the
full model's scheduler. Printed are saved calls, time as a share of the full run's, and the RMS
difference of the latents over their RMS: its mean and its highest over the prompts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from train_demo.checks import read_clip
from train_demo.combinations import ASKED_COMBINATIONS, Combination, say

from ltx2cpp import Guidance, LTX2Pipeline, ModalityGuidance, ModelFiles, Sampling, StepCache
from ltx2cpp.options import CACHE_MODES
from ltx2cpp.output import GenerationOutput

STEPS = 30
SIZE = {"width": 96, "height": 64, "num_frames": 17}


def main() -> int:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="instead of the demo")
    parser.add_argument("--text-encoder", type=Path, metavar="FOLDER")
    parser.add_argument("--prompts", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.02, 0.03, 0.05])
    options = parser.parse_args()
    asked = ASKED_COMBINATIONS[:: max(1, len(ASKED_COMBINATIONS) // options.prompts)]
    is_demo = options.checkpoint is None
    call: dict[str, Any]
    if is_demo:
        pipe, calls_per_step = LTX2Pipeline.demo("cpu"), 2
        call = {"guidance_scale": 3.0, "negative_prompt": ""}
    else:
        files = ModelFiles(options.checkpoint, text_encoder=options.text_encoder, variant="dev")
        pipe, calls_per_step = LTX2Pipeline(files, device="cpu", weight_type="f32"), 4
        video = ModalityGuidance(cfg=3.0, stg=1.0, modality=3.0, rescale=0.7)
        audio = ModalityGuidance(cfg=7.0, stg=1.0, modality=3.0, rescale=0.7)
        call = {**SIZE, "guidance": Guidance(video, audio, (1,)), "output": "latents"}
    caches = [StepCache(mode, each) for mode in CACHE_MODES for each in options.thresholds]
    rows: dict[StepCache, list[list[float]]] = {cache: [] for cache in caches}
    print("cache, saved calls, time, RMS mean, RMS highest, clips read as the full run's")
    with pipe:
        for combination in asked:
            full, full_s = _timed(pipe, combination, call)
            for cache in caches:
                out, seconds = _timed(pipe, combination, {**call, "step_cache": cache})
                saved = out.info["saved_calls"] / (STEPS * calls_per_step)
                alike = float(_shown(out) == _shown(full)) if is_demo else np.nan
                rows[cache].append([saved, seconds / full_s, _difference(out, full), alike])
    for cache, row in rows.items():
        saved, share, difference, alike = np.mean(row, axis=0)
        highest = np.max(row, axis=0)[2]
        print(
            f"{cache.mode} {cache.threshold:g}: {saved:.1%}, {share:.2f}, {difference:.4f}, "
            f"{highest:.4f}, {alike:.1%}"
        )
    return 0


def _timed(
    pipe: LTX2Pipeline, asked: Combination, call: Mapping[str, Any]
) -> tuple[GenerationOutput, float]:
    start = time.perf_counter()
    out = pipe(
        say(asked),
        seed=1,
        num_inference_steps=STEPS,
        sampling=Sampling(scheduler="ltx2"),
        **call,
    )
    return out, time.perf_counter() - start


def _shown(out: GenerationOutput) -> tuple[str, str, str, str]:
    assert out.video is not None
    reading = read_clip(out.video)
    return reading.colour, reading.shape, reading.motion, reading.background


def _difference(out: GenerationOutput, full: GenerationOutput) -> float:
    """Return the larger of both streams' relative RMS differences."""
    pairs = ((out.video_latent, full.video_latent), (out.audio_latent, full.audio_latent))
    return max(_rms(a - b) / _rms(b) for a, b in pairs if a is not None and b is not None)


def _rms(array: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


if __name__ == "__main__":
    sys.exit(main())
