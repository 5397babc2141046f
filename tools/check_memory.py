"""Compare memory plans with what runs take, phase by phase.

Each request runs in a process of its own. The highest resident memory of a phase, mapped pages of
weight files included, is read between two resets of the kernel's record (Linux only); loading
belongs to the phase that follows.

`--synthetic` takes a model of LTX-2.3's widths with few blocks, written to the folder when it is
not there (4.2 GB), and in the end runs one request again in less memory than the transformer's
weights take, which has to give the same to the last bit.

Example:
    python tools/check_memory.py --synthetic FOLDER
    python tools/check_memory.py --model A/ltx-2.3-tiny.safetensors --text-encoder A/gemma-3-tiny
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from synthetic.models import whole_model

from ltx2cpp import LTX2Pipeline, ModelFiles
from ltx2cpp.machine.process_memory import peak_memory_bytes, restart_peak_memory
from ltx2cpp.memory.plan import GIB
from ltx2cpp.model.resolve import resolve
from ltx2cpp.observing import Observer
from ltx2cpp.options import Guidance
from ltx2cpp.values import PromptEmbedding

MIB = 1 << 20
# A phase is predicted well within the larger of these.
_SHARE, _BYTES = 0.10, 200 * 10**6
# Of the transformer's weights, what a run that streams them may take.
_TIGHT_SHARE = 0.5

_REQUESTS: dict[str, dict[str, Any]] = {
    "small": {"width": 96, "height": 64, "num_frames": 17},
    "long silent": {"width": 192, "height": 128, "num_frames": 97, "audio": False},
    "guided": {"width": 256, "height": 192, "num_frames": 25, "guidance_scale": 3.0},
    "two stages": {"width": 256, "height": 256, "num_frames": 17, "two_stage": True},
    "sound alone": {"num_frames": 241, "video": False},
}


class PeakRecorder(Observer):
    """Keeps the highest memory of each phase."""

    def __init__(self) -> None:
        self.peaks: dict[str, int] = {}
        self._loading = 0

    def phase_started(self, name: str, total: int | None = None) -> None:
        restart_peak_memory()

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        if name.startswith("load "):
            self._loading = max(self._loading, peak_memory_bytes())
            return
        self.peaks[name] = max(peak_memory_bytes(), self._loading)
        self._loading = 0


def model_files(arguments: argparse.Namespace) -> ModelFiles:
    if arguments.synthetic is not None:
        return whole_model(arguments.synthetic)
    return ModelFiles(
        arguments.model,
        text_encoder=arguments.text_encoder,
        spatial_upsampler=arguments.upsampler,
        tokenizer=arguments.tokenizer,
        variant="distilled",
    )


def measure(arguments: argparse.Namespace, request: dict[str, Any]) -> dict[str, Any]:
    """Run one request; returns its plan and the peaks of its phases."""
    recorder = PeakRecorder()
    files = model_files(arguments)
    prompt: str | PromptEmbedding = "A small red boat crosses the quiet lake at dawn."
    call = {**request, "num_inference_steps": arguments.steps, "seed": 1}
    if "two_stage" in call:
        del call["num_inference_steps"]
    if "guidance_scale" in call:
        call["guidance"] = Guidance.from_scale(call.pop("guidance_scale"))
    with LTX2Pipeline(
        files,
        device="cpu",
        offload=arguments.offload,
        max_memory=arguments.max_memory,
        observer=recorder,
    ) as pipe:
        if pipe.models.text_encoder is None:
            config = pipe.models.require("transformer").config
            widths = (config.cross_attention_dim, config.audio_cross_attention_dim)
            prompt = PromptEmbedding(*(np.zeros((1024, width), np.float32) for width in widths))
            call["negative_prompt"] = prompt
        call["output"] = "media" if pipe.models.video_decoder is not None else "latents"
        plan = pipe.memory_plan(prompt, **call)
        output = call.pop("output")
        digest = hashlib.sha256()
        if output == "latents":
            clip = pipe(prompt, **call, output=output)
            digest.update(b"" if clip.video_latent is None else clip.video_latent.tobytes())
        else:
            stream = pipe.stream(prompt, **call)
            if stream.audio is not None:
                digest.update(stream.audio.tobytes())
            if call.get("video", True):
                for frames in stream:
                    digest.update(frames.tobytes())
    return {"plan": plan.to_dict(), "peaks": recorder.peaks, "digest": digest.hexdigest()}


def report(name: str, result: dict[str, Any]) -> bool:
    """Print the table of one request; returns whether all phases were predicted well."""
    plan = result["plan"]
    print(f"{name}: offload {plan['offload']}, SHA-256 {result['digest'][:16]}")
    good = True
    for phase in plan["phases"]:
        measured, planned = result["peaks"][phase["name"]], phase["peak_bytes"]
        off = planned - measured
        fine = abs(off) <= max(_SHARE * measured, _BYTES)
        good = good and fine
        print(
            f"  {phase['name']:<20} planned {planned / MIB:9.1f} MiB, measured "
            f"{measured / MIB:9.1f} MiB, {off / MIB:+8.1f} MiB ({100 * off / measured:+6.1f} %)"
            f"{'' if fine else '  OFF'}"
        )
    return good


def run_alone(own: Sequence[str], name: str, *more: str) -> dict[str, Any]:
    """Run a request in a process of its own, with these options of this command."""
    command = [sys.executable, __file__, *own, *more, "--one", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def check_tight(options: argparse.Namespace, own: Sequence[str], name: str, digest: str) -> bool:
    """Run a request in less than the transformer's weights; returns whether all is as it should."""
    weights = resolve(model_files(options)).require("transformer").size_bytes
    budget = round(_TIGHT_SHARE * weights / GIB, 2)
    print(f"transformer of {weights / GIB:.2f} GiB in {budget:.2f} GiB")
    limits = ("--offload", "auto", "--max-memory", str(budget))
    result = run_alone(own, name, *limits)
    predicted = report(name, result)
    highest = max(result["peaks"].values())
    kept, equal = highest <= budget * GIB, result["digest"] == digest
    print(
        f"  highest {highest / GIB:.2f} GiB, {'within' if kept else 'OVER'} the limit; "
        f"{'bit-equal to' if equal else 'OTHER THAN'} the run without it"
    )
    return predicted and kept and equal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 where every phase was predicted well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", type=Path)
    model.add_argument("--synthetic", type=Path, metavar="FOLDER", help="with the files")
    parser.add_argument("--text-encoder", type=Path, help="without it contexts are zeros")
    parser.add_argument("--tokenizer", type=Path, help="where the text encoder has none")
    parser.add_argument("--upsampler", type=Path, help="spatial, for the request of two stages")
    parser.add_argument("--offload", default="phase")
    parser.add_argument("--max-memory", type=float, metavar="GIB")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--requests", default=",".join(_REQUESTS), help="default: all")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one is not None:
        print(json.dumps(measure(options, _REQUESTS[options.one])))
        return 0
    good = True
    own = list(sys.argv[1:] if arguments is None else arguments)
    digests = {}
    for name in options.requests.split(","):
        if name == "two stages" and options.synthetic is None and options.upsampler is None:
            continue
        result = run_alone(own, name)
        digests[name] = result["digest"]
        good = report(name, result) and good
    if options.synthetic is not None:
        name, digest = next(iter(digests.items()))
        good = check_tight(options, own, name, digest) and good
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
