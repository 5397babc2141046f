"""Describe a model file by its header alone."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ltx2cpp.checkpoint import CheckpointFile, TensorInfo, open_checkpoint
from ltx2cpp.config import Gemma4Config, is_gemma4
from ltx2cpp.errors import Error
from ltx2cpp.model.adapter_keys import adapter_kind, read_key
from ltx2cpp.model.detect import COMPONENT_TITLES, Detection, Variant, detect, half_of
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.lora import lora_generation
from ltx2cpp.model.lora_file import LoraFile, open_lora_file
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.names import SortedTensors
from ltx2cpp.model.resolve import resolve
from ltx2cpp.model.source import Source
from ltx2cpp.model.weight_scales import stored_type

# Longest metadata value shown, in characters; vocabularies are only counted.
_MAX_VALUE = 200

# Metadata entry "format" of files written here that are no models -> what they are.
_OWN_FORMATS = {
    "ltx2cpp-prompt-embedding": "an encoded prompt of ltx2cpp, no model",
    "ltx2cpp latents 1": "latents of ltx2cpp, no model",
}

_BLOCK = re.compile(r"(transformer_blocks|transformer_1d_blocks|layers)\.(\d{1,4})\.")


@dataclass(frozen=True)
class ComponentSummary:
    """What a file holds of one component.

    Attributes:
        name: attribute of `ModelSet`, or "tokenizer" or "lora".
        tensors: number of stored tensors, scales of fp8 weights included.
        parameters: elements of these tensors, scales left out.
        size_bytes: their stored bytes.
        dtypes: stored type, or packing of several tensors -> number of weights, most frequent
            first.
        complete: whether it can be used, as far as headers tell; False has a reason in `problem`.
        missing: names that other blocks of the same kind have and one block lacks; no more than the
            file has tensors of the component.
        problem: one sentence, or "".
    """

    name: str
    tensors: int
    parameters: int
    size_bytes: int
    dtypes: dict[str, int]
    complete: bool
    missing: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class LoraSummary:
    """What a LoRA changes.

    Attributes:
        modules: number of weights that it changes.
        ranks: smallest and largest rank of its factors.
        factors: smallest and largest alpha / rank; 1 where no alpha is known.
        reference_downscale_factor: how many times smaller an IC-LoRA wants its reference video.
        reference_temporal_scale_factor: how many times slower it wants it.
        strangers: keys that are no part of a low-rank pair, and are not used.
    """

    modules: int
    ranks: tuple[int, int]
    factors: tuple[float, float]
    reference_downscale_factor: int
    reference_temporal_scale_factor: int
    strangers: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """What a file is.

    Attributes:
        path: what was inspected.
        kind: "safetensors", "sharded" or "gguf".
        family: "ltx-2", "gemma-3", "gemma-4", "lora" or "unknown".
        description: one line for people.
        version: "2.0", "2.3", "2.5", or "" when nothing tells it.
        model_version: version as the metadata spells it; "" when absent.
        variant: "dev" or "distilled" with a transformer; "" otherwise or when nothing tells it.
        num_blocks: transformer blocks.
        components: what the file holds, in the order of use.
        missing: what generating a clip needs beside a transformer and the file lacks, or the
            tokenizer of a text encoder -> sentence that says where it usually is.
        metadata: key -> value, long ones cut.
        layouts: dialect of the parts that do not have the official names.
        ignored: known names without a use here.
        unknown: names that belong to nothing known.
        tensors: number of stored tensors.
        size_bytes: their stored bytes.
        lora: what a LoRA changes; None for models and for adapters that are not read.
    """

    path: Path
    kind: str
    family: str
    description: str
    version: str
    model_version: str
    variant: str
    num_blocks: int
    components: tuple[ComponentSummary, ...]
    missing: dict[str, str]
    metadata: dict[str, str]
    layouts: dict[str, str]
    ignored: tuple[str, ...]
    unknown: tuple[str, ...]
    tensors: int
    size_bytes: int
    lora: LoraSummary | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain JSON types."""
        plain = dataclasses.asdict(self)
        plain["path"] = str(self.path)
        return plain


def inspect_file(path: str | os.PathLike[str]) -> Inspection:
    """Describe a model file or folder; reads headers only.

    Args:
        path: anything `open_checkpoint` reads, also a LoRA or a file of an unknown model.

    Returns:
        the description. A component that could not be used is listed with the reason.

    Raises:
        CheckpointError: not a model file, or damaged.
        UnsupportedError: LTX-Video, or an element type that is not read.
    """
    file = open_checkpoint(path)
    kind = adapter_kind(file.tensors)
    if kind is not None:
        return _inspect_lora(file, kind)
    source = Source("checkpoint", file)
    detection = detect(file, source.tensors)
    variant = detection.variant if detection.variant_source not in ("", "default") else None
    models, problem = _try_resolve(Path(path), source.tensors, detection.variant)
    own = _OWN_FORMATS.get(str(file.metadata.get("format")))
    return Inspection(
        path=Path(path),
        kind=file.kind,
        family=detection.family,
        description=own or _describe(detection, variant),
        version=detection.version or "",
        model_version=detection.model_version,
        variant=variant or "",
        num_blocks=detection.num_blocks,
        components=tuple(
            _component(source, name, _problem(name, models, problem), _needless(name, models))
            for name in detection.components
        ),
        missing=_missing(detection, models),
        metadata=summarise_metadata(file.metadata),
        layouts={str(group): layout for group, layout in detection.layouts.items()},
        ignored=detection.ignored,
        unknown=detection.unclaimed,
        tensors=len(file.tensors),
        size_bytes=sum(info.size_bytes for info in file.tensors.values()),
    )


def summarise_metadata(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return metadata for people: long texts are cut, lists counted."""
    summary: dict[str, str] = {}
    for key, value in metadata.items():
        if isinstance(value, str):
            text = value
        elif hasattr(value, "__len__"):
            text = f"{len(value)} values" if len(value) > 8 else str(list(value))
        else:
            text = str(value)
        excess = len(text) - _MAX_VALUE
        summary[key] = text if excess <= 0 else f"{text[:_MAX_VALUE]}... ({excess} more characters)"
    return summary


def _inspect_lora(file: CheckpointFile, kind: str) -> Inspection:
    lora, version, problem = None, "", ""
    try:
        lora_file = open_lora_file(file.path)
    except Error as error:
        problem = str(error)
    else:
        kind = lora_file.kind
        lora, version = _summarise_lora(lora_file), lora_generation(lora_file)
    modules = len({_lora_module(name) for name in file.tensors}) if lora is None else lora.modules
    made_for = f" of LTX-{version}" if version else ""
    return Inspection(
        path=file.path,
        kind=file.kind,
        family="lora",
        description=f"{kind} for {modules} modules{made_for}: it changes a model but is none",
        version=version,
        model_version="",
        variant="",
        num_blocks=0,
        components=(_summary("lora", file.tensors, problem),),
        missing={},
        metadata=summarise_metadata(file.metadata),
        layouts={},
        ignored=(),
        unknown=() if lora is None else lora.strangers,
        tensors=len(file.tensors),
        size_bytes=sum(info.size_bytes for info in file.tensors.values()),
        lora=lora,
    )


def _summarise_lora(file: LoraFile) -> LoraSummary:
    ranks = [change.rank for change in file.changes]
    factors = [change.factor for change in file.changes]
    return LoraSummary(
        modules=len(file.changes),
        ranks=(min(ranks), max(ranks)),
        factors=(min(factors), max(factors)),
        reference_downscale_factor=file.reference_downscale_factor,
        reference_temporal_scale_factor=file.reference_temporal_scale_factor,
        strangers=file.strangers,
    )


def _lora_module(name: str) -> str:
    key = read_key(name)
    return name.rpartition(".")[0] if key is None else key.module


def _describe(detection: Detection, variant: str | None) -> str:
    components = detection.components
    if detection.family == "gemma-3":
        return "Gemma 3 text encoder"
    if detection.family == "gemma-4":
        return "Gemma 4 text encoder" + (
            " with the projection of LTX-2.5" if "text_projection" in components else ""
        )
    if detection.family == "unknown":
        return "no tensor of LTX-2 or Gemma is in this file"
    title = " ".join(part for part in ("LTX-" + (detection.version or "2"), variant) if part)
    whole = "transformer" in components and "video_decoder" in components
    parts = ", ".join(COMPONENT_TITLES[name] for name in components)
    silent = " (no audio stream: silent clips only)" if detection.silent else ""
    return f"{title}, whole checkpoint{silent}" if whole else f"{title}: {parts}{silent}"


def _missing(detection: Detection, models: ModelSet | None) -> dict[str, str]:
    """Return what a file lacks of what its kind usually holds; a part need not be a whole."""
    if detection.family in ("gemma-3", "gemma-4"):
        components = ["tokenizer"]
    elif "transformer" in detection.components:
        components = list(detection.missing)
    else:
        components = []
    if models is not None and models.tokenizer_source is not None:
        components = [name for name in components if name != "tokenizer"]
    return {name: detection.missing[name] for name in components if name in detection.missing}


def _members(component: str, tensors: SortedTensors) -> Mapping[str, TensorInfo]:
    kind, _, half = component.rpartition("_")
    if component == "diffusion_decoder":
        return half_of(tensors.groups["video_vae"], "decoder")
    if kind in ("video", "audio") and half in ("decoder", "encoder"):
        return half_of(tensors.groups["video_vae" if kind == "video" else "audio_vae"], half)
    if half == "upsampler":
        return tensors.groups["upsampler"]
    return next(members for group, members in tensors.groups.items() if group == component)


def _gaps(names: Collection[str], needless: Collection[str]) -> tuple[tuple[str, ...], int]:
    """Find the names that a block lacks although its siblings have them.

    A single high block number makes any number of them, so at most as many are listed as there are
    names.

    Args:
        names: of the tensors of a component.
        needless: names that their blocks do without.

    Returns:
        the first of them, and their number.
    """
    stacks: dict[str, dict[int, set[str]]] = {}
    for name in names:
        match = _BLOCK.match(name)
        if match is not None:
            blocks = stacks.setdefault(match[1], {})
            blocks.setdefault(int(match[2]), set()).add(name[match.end() :])
    gaps: list[str] = []
    total = 0
    for stack, blocks in stacks.items():
        counts = Counter(part for parts in blocks.values() for part in parts)
        # A part of a single block is a stranger to it, not a gap of all the others.
        common = sorted(part for part, count in counts.items() if 2 * count > len(blocks))
        present = sum(counts[part] for part in common)
        dropped = sum(name not in names for name in needless)
        total += (max(blocks) + 1) * len(common) - present - dropped
        missing = (
            name
            for index in range(max(blocks) + 1)
            for part in common
            if part not in blocks.get(index, ())
            and (name := f"{stack}.{index}.{part}") not in needless
        )
        gaps += islice(missing, len(names) - len(gaps))
    return tuple(gaps), total


def _try_resolve(
    path: Path, tensors: SortedTensors, variant: Variant | None
) -> tuple[ModelSet | None, str]:
    """Return the components as the pipeline would see them, or the sentence that says why not."""
    only_text = "text_encoder" in tensors.groups and "transformer" not in tensors.groups
    role = "text_encoder" if only_text else "checkpoint"
    try:
        return resolve(ModelFiles(**{role: path}, variant=variant)), ""
    except Error as error:
        return None, str(error)


def _problem(component: str, models: ModelSet | None, problem: str) -> str:
    if models is None:
        return problem
    if component in models.components() or component == "tokenizer":
        return ""
    return "found, but not usable from this file"


def _needless(component: str, models: ModelSet | None) -> Collection[str]:
    """Return the tensors that some layers of a component do without."""
    encoder = models.text_encoder if models is not None else None
    if component != "text_encoder" or encoder is None or not is_gemma4(encoder.tensors):
        return ()
    config: Gemma4Config = encoder.config
    if not config.global_heads.shares_keys:
        return ()
    layers = (layer for layer, is_global in enumerate(config.global_layers) if is_global)
    return [f"layers.{layer}.self_attn.v_proj.weight" for layer in layers]


def _component(
    source: Source, name: str, problem: str, needless: Collection[str]
) -> ComponentSummary:
    """Describe a component, with the packing of its weights in place of their numbers' types."""
    members = _members(name, source.tensors)
    summary = _summary(name, members, problem, needless)
    try:
        weights = source.weights(members).values()
    except Error:
        # What cannot be unpacked is described as it lies there.
        return summary
    dtypes = Counter(stored_type(weight) for weight in weights)
    parameters = sum(weight.info.num_elements for weight in weights)
    return dataclasses.replace(summary, parameters=parameters, dtypes=dict(dtypes.most_common()))


def _summary(
    name: str,
    tensors: Mapping[str, TensorInfo],
    problem: str,
    needless: Collection[str] = (),
) -> ComponentSummary:
    members = list(tensors.values())
    gaps, total = _gaps(tensors, needless)
    if gaps and not problem:
        problem = f"{total} tensors are missing, such as '{gaps[0]}'"
    dtypes = Counter(str(info.dtype) for info in members)
    return ComponentSummary(
        name=name,
        tensors=len(members),
        parameters=sum(info.num_elements for info in members),
        size_bytes=sum(info.size_bytes for info in members),
        dtypes=dict(dtypes.most_common()),
        complete=not problem,
        missing=gaps,
        problem=problem,
    )
