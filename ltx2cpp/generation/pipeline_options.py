"""How a pipeline runs its model: its options, listed and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, TypedDict

from ltx2cpp.devices import Devices
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.presets import Preset
from ltx2cpp.generation.request import check_names
from ltx2cpp.observing import Observer
from ltx2cpp.options import LoraSpec


class PipelineOptions(TypedDict, total=False):
    """How a pipeline runs its model; what is left out takes the default.

    Attributes:
        device: "cpu", "cuda", "cuda:1", "vulkan:0" or "auto" (default); `Devices` puts each part of
            the model on one of its own.
        weight_type: "file" (default) computes with the weights as stored; "f32", "f16", "bf16",
            "q8_0", "q6_k", "q5_k" or "q4_k" converts them on load; "int8_convrot" too, and
            multiplies the large matrices as 8-bit integers on the CPU.
        threads: threads of the CPU; None takes the cores that this process may use, no more
            than its container's quota fills.
        observer: receives phases, steps and progress.
        loras: LoRAs to apply; several add up.
        lora_mode: "merge" adds them to the weights on load, which costs time then and nothing per
            step; "runtime" computes them beside the weights, which then keep their precision and
            need no copy; "auto" (default) merges, but computes beside weights of less than eight
            bits.
        distilled_lora: the LoRA that makes a full model a distilled one; the pipelines of two
            stages apply it where and as strongly as the official ones do.
        prompt_cache: folder that keeps encoded prompts for other runs, up to 1 GiB; a prompt found
            there needs no text encoder. None keeps none.
        preview_cache: folder that keeps the colours of latents, which previews learn from finished
            clips, 70 KB for a model; None learns nothing.
        offload: what leaves memory when. "phase": each network after its phase. "stream": also
            weights behind the reader, block by block, for models larger than memory. "disk": the
            same, and out of the system's cache. "none": nothing until `release`. "auto" (default):
            as "phase", the transformer stays for the next clip where there is room, and "stream"
            where that is needed.
        max_memory: GiB that this process (with a GPU: its memory; with several devices: of each)
            may use at most; a generation that cannot keep to it is refused before it starts.
        preset: what calls leave unset; None takes the defaults of the model found.
    """

    device: str | Devices
    weight_type: str
    threads: int | None
    observer: Observer | None
    loras: Sequence[LoraSpec]
    lora_mode: str
    distilled_lora: str | os.PathLike[str] | None
    prompt_cache: str | os.PathLike[str] | None
    preview_cache: str | os.PathLike[str] | None
    offload: str
    max_memory: float | None
    preset: Preset | None


# What an option may be; what it may say is checked by those who use it.
_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "device": ("the name of a device, or Devices", (str, Devices)),
    "observer": ("an Observer", (Observer, NoneType)),
    "loras": ("a sequence of LoraSpec", (Sequence,)),
    "distilled_lora": ("the path of a LoRA", (str, os.PathLike, NoneType)),
    "prompt_cache": ("the path of a folder", (str, os.PathLike, NoneType)),
    "preview_cache": ("the path of a folder", (str, os.PathLike, NoneType)),
    "max_memory": ("GiB as a number", (int, float, NoneType)),
    "preset": ("a Preset", (Preset, NoneType)),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise for options that do not exist, and for values of another kind.

    Raises:
        TypeError: an unknown name.
        ArgumentError: the first value of another kind.
    """
    check_names("LTX2Pipeline", options, PipelineOptions)
    for name, (expected, kinds) in _KINDS.items():
        if name in options and not isinstance(options[name], kinds):
            raise ArgumentError(f"{name}: expected {expected}, found {options[name]!r:.60}")
