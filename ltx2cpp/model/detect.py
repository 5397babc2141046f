"""Tell what a model file is: family, version, components, and what a whole model lacks.

Source: tensor inventories of the released files. Tensors decide; metadata and file names only fill
what tensors cannot show.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ltx2cpp.checkpoint import CheckpointFile, TensorInfo
from ltx2cpp.config import is_diffusion_decoder, is_gemma4
from ltx2cpp.config.fields import count_blocks, parse_config
from ltx2cpp.config.transformer import AUDIO_INPUT
from ltx2cpp.model.names import GROUP_TITLES, Group, Layout, SortedTensors, sort_tensors

logger = logging.getLogger("ltx2cpp")

Family = Literal["ltx-2", "gemma-3", "gemma-4", "unknown"]
Version = Literal["2.0", "2.3", "2.5"]
Variant = Literal["dev", "distilled"]

# Component of a whole model -> where people find it. The words after "give" are arguments of
# ModelFiles.
USUAL_PLACES: dict[str, str] = {
    "transformer": (
        "it is in the whole checkpoint (ltx-2.3-22b-*.safetensors) and in every GGUF of it; give "
        "checkpoint= or transformer="
    ),
    "video_connector": (
        "it is in the whole checkpoint and in 22B transformer files, but not in 19B GGUF files, "
        "which come with a file named *embeddings_connector*; give connectors="
    ),
    "audio_connector": (
        "it is in the whole checkpoint and in 22B transformer files, but not in 19B GGUF files, "
        "which come with a file named *embeddings_connector*; give connectors="
    ),
    "text_projection": (
        "it is in the whole checkpoint, for LTX-2.5 in the text encoder's file, or in a small file "
        "of its own (*text_projection* or *embeddings_connectors*); give text_projection="
    ),
    "text_encoder": (
        "it is never in the checkpoint: take the Gemma 3 12B folder (gemma-3-12b-it), its single "
        "file, or its llama.cpp GGUF, for LTX-2.5 the file gemma4-12b-with-proj-ltx-2.5; give "
        "text_encoder="
    ),
    "video_decoder": (
        "it is in the whole checkpoint, or in a file named *video_vae*; give video_vae="
    ),
    "diffusion_decoder": (
        "it is in the file of LTX-2.5 named *video-vae* without 'conv'; give video_decoder= or "
        "video_vae="
    ),
    "video_encoder": (
        "it is in the whole checkpoint, or in a file named *video_vae*; give video_vae="
    ),
    "audio_decoder": (
        "it is in the whole checkpoint, or in a file named *audio_vae*; give audio_vae="
    ),
    "audio_encoder": (
        "it is in the whole checkpoint, or in a file named *audio_vae*; give audio_vae="
    ),
    "vocoder": (
        "it is in the whole checkpoint, beside the audio VAE (*audio_vae*), or in a file named "
        "*vocoder*; give audio_vae= or vocoder="
    ),
    "spatial_upsampler": ("it is a file of its own (*spatial-upscaler*); give spatial_upsampler="),
    "temporal_upsampler": (
        "it is a file of its own (*temporal-upscaler*); give temporal_upsampler="
    ),
    "duration_head": (
        "it is a file of its own that came with LTX-2.5 (*duration-head*); give duration_head="
    ),
    "preview_decoder": (
        "it is a small file of its own (taeltx2_3.safetensors, for LTX-2 taeltx_2); give "
        "preview_decoder="
    ),
    "tokenizer": (
        "it is beside the text encoder (tokenizer.json or tokenizer.model) or inside its file; "
        "give tokenizer="
    ),
}

COMPONENT_TITLES: dict[str, str] = {
    **{str(group): title for group, title in GROUP_TITLES.items()},
    "prompt_enhancer": "prompt enhancer",
    "video_decoder": "video decoder",
    "diffusion_decoder": "diffusion video decoder",
    "video_encoder": "video encoder",
    "audio_decoder": "audio decoder",
    "audio_encoder": "audio encoder",
    "spatial_upsampler": "spatial upsampler",
    "temporal_upsampler": "temporal upsampler",
}

# What generating a clip needs, in the order of use.
NEEDED_TO_GENERATE = (
    "text_encoder",
    "tokenizer",
    "text_projection",
    "video_connector",
    "audio_connector",
    "transformer",
    "video_decoder",
    "audio_decoder",
    "vocoder",
)
# Those of them that a silent clip does without.
_NEEDED_FOR_SOUND = ("audio_connector", "audio_decoder", "vocoder")


@dataclass(frozen=True)
class Detection:
    """What one file is.

    Attributes:
        family: "ltx-2" for anything of LTX-2, 2.3 or 2.5, also a VAE alone; "gemma-3" or "gemma-4"
            for a text encoder.
        version: None when no tensor and no metadata tells it.
        version_source: "tensors", "metadata" or "".
        model_version: version as the metadata spells it ("2.3.0", "2.3.rc1"); "" when absent.
        variant: "dev" or "distilled"; None for files without a transformer.
        variant_source: "metadata", "file name" or "default"; "" without a variant.
        components: tensors per component ("video_decoder", ...), in the order of use.
        layouts: dialect of each group that is not in the official layout.
        num_blocks: transformer blocks; 0 without a transformer.
        silent: whether the file has a transformer without its audio stream.
        missing: component -> sentence, for what generating needs and this file lacks.
        ignored: known names without a use.
        unclaimed: names that belong to nothing known.
    """

    family: Family
    version: Version | None
    version_source: str
    model_version: str
    variant: Variant | None
    variant_source: str
    components: dict[str, int]
    layouts: dict[Group, Layout]
    num_blocks: int
    silent: bool
    missing: dict[str, str]
    ignored: tuple[str, ...]
    unclaimed: tuple[str, ...]


def detect(file: CheckpointFile, tensors: SortedTensors | None = None) -> Detection:
    """Describe an opened file.

    Args:
        file: the file.
        tensors: its sorted tensors, if they are at hand.

    Raises:
        UnsupportedError: an LTX-Video file.
        CheckpointError: two tensors have one canonical name.
    """
    tensors = tensors or sort_tensors(file)
    transformer = tensors.groups.get("transformer", {})
    version, version_source = find_version(file, tensors)
    variant: Variant | None = None
    variant_source = ""
    if transformer:
        variant, variant_source = find_variant(file)
    components = count_components(tensors)
    silent = bool(transformer) and AUDIO_INPUT not in transformer
    unneeded = {*components, *(_NEEDED_FOR_SOUND if silent else ())}
    family: Family = "unknown"
    if components:
        family = "ltx-2"
        if set(components) <= {"text_encoder", "tokenizer"}:
            family = "gemma-3"
        # The text encoder of LTX-2.5 comes with its projection.
        if is_gemma4(tensors.groups.get("text_encoder", {})) and not transformer:
            family = "gemma-4"
    return Detection(
        family=family,
        version=version,
        version_source=version_source,
        model_version=model_version(file),
        variant=variant,
        variant_source=variant_source,
        components=components,
        layouts={group: kind for group, kind in tensors.layouts.items() if kind != "official"},
        num_blocks=count_blocks(transformer, "transformer_blocks."),
        silent=silent,
        missing={
            name: missing_sentence(name, str(file.path))
            for name in NEEDED_TO_GENERATE
            if name not in unneeded
        },
        ignored=tensors.ignored,
        unclaimed=tensors.unclaimed,
    )


def missing_sentence(component: str, where: str) -> str:
    """Say that `where` lacks a component and where it is usually found."""
    return f"{where} has no {COMPONENT_TITLES[component]}; {USUAL_PLACES[component]}"


def count_components(tensors: SortedTensors) -> dict[str, int]:
    """Count the tensors of each component; the halves of an autoencoder share its statistics."""
    counts: dict[str, int] = {}
    for group, members in tensors.groups.items():
        if group in ("video_vae", "audio_vae"):
            kind = group.partition("_")[0]
            for half in ("decoder", "encoder"):
                part = half_of(members, half)
                if part:
                    diffusion = kind == "video" and is_diffusion_decoder(part)
                    counts["diffusion_decoder" if diffusion else f"{kind}_{half}"] = len(part)
        elif group == "upsampler":
            counts[upsampler_kind(members)] = len(members)
        else:
            counts[group] = len(members)
    order = [*NEEDED_TO_GENERATE, *USUAL_PLACES, *counts]
    return {name: counts[name] for name in dict.fromkeys(order) if name in counts}


def half_of(members: Mapping[str, TensorInfo], half: str) -> dict[str, TensorInfo]:
    """Return the tensors of an autoencoder's decoder or encoder, without their prefix.

    The statistics come with them; the result is empty when the half is absent.
    """
    prefix = f"{half}."
    part = {name[len(prefix) :]: info for name, info in members.items() if name.startswith(prefix)}
    if part:
        statistics = "per_channel_statistics."
        part.update((name, info) for name, info in members.items() if name.startswith(statistics))
    return part


def upsampler_kind(members: Mapping[str, TensorInfo]) -> str:
    """Return "temporal_upsampler" where each frame is made two, else "spatial_upsampler"."""
    kernel, norm = members.get("upsampler.0.weight"), members.get("initial_norm.weight")
    if kernel is None or norm is None:
        return "spatial_upsampler"
    temporal = kernel.shape[:1] == (2 * norm.num_elements,)
    return "temporal_upsampler" if temporal else "spatial_upsampler"


def find_version(file: CheckpointFile, tensors: SortedTensors) -> tuple[Version | None, str]:
    """Find the version by tensors, else by metadata, and what told it; the tensors win.

    Returns:
        version and "tensors", "metadata" or ""; None and "" when nothing tells it.
    """
    by_tensors = _version_by_tensors(tensors.groups)
    by_metadata = stated_version(file)
    if by_tensors is None:
        return by_metadata, "metadata" if by_metadata else ""
    transformer = "transformer" in tensors.groups
    if by_metadata is not None and by_metadata != by_tensors and transformer:
        logger.warning(
            "%s: model_version is %s, but the tensors are those of LTX-%s; using the tensors",
            file.path,
            model_version(file),
            by_tensors,
        )
    # Parts other than the transformer are alike in 2.3 and 2.5, which only metadata tells apart.
    if not transformer and by_metadata == "2.5" and by_tensors == "2.3":
        return "2.5", "metadata"
    return by_tensors, "tensors"


def _version_by_tensors(groups: Mapping[Group, Mapping[str, TensorInfo]]) -> Version | None:
    transformer = groups.get("transformer", {})
    block = "transformer_blocks.0."
    if "caption_projection.linear_1.weight" in transformer:
        return "2.0"
    if f"{block}prompt_scale_shift_table" in transformer or (
        f"{block}attn1.to_gate_logits.weight" in transformer
    ):
        return "2.3" if f"{block}ff.net.0.proj.bias" in transformer else "2.5"
    if transformer:
        return "2.0"
    projection = groups.get("text_projection", {})
    if projection:
        return "2.3" if "video_aggregate_embed.weight" in projection else "2.0"
    connector = groups.get("video_connector") or groups.get("audio_connector")
    if connector:
        gated = any(".to_gate_logits." in name for name in connector)
        return "2.3" if gated else "2.0"
    vocoder = groups.get("vocoder", {})
    if vocoder:
        return "2.3" if any(name.startswith("bwe_generator.") for name in vocoder) else "2.0"
    return {9: "2.3", 7: "2.0"}.get(  # type: ignore[return-value]
        count_blocks(groups.get("video_vae", {}), "decoder.up_blocks.")
    )


def model_version(file: CheckpointFile) -> str:
    """Return the version as the metadata spells it, at most 64 characters; "" when absent."""
    version = file.metadata.get("model_version")
    return version[:64] if isinstance(version, str) else ""


def gemma_version(file: CheckpointFile) -> str:
    """Return the text encoder that a transformer's file asks for; "" when it names none.

    Raises:
        ConfigError: the metadata entry `gemma_source_checkpoint` is malformed.
    """
    key = "gemma_source_checkpoint"
    stated = parse_config(file.metadata.get(key), f"{file.path}: {key}").get("gemma_version")
    return stated[:64] if isinstance(stated, str) else ""


def stated_version(file: CheckpointFile) -> Version | None:
    """Return the version that the metadata states: "2.3.0", "2.3.rc1", "v2.3-dev"."""
    match = re.match(r"v?(\d{1,4})(?:\.(\d{1,4}))?", model_version(file))
    if match is None:
        return None
    number = (int(match[1]), int(match[2] or 0))
    if number < (2, 0) or number >= (3, 0):
        return None
    # The version from which encoder and transformer files state their text encoder.
    if number >= (2, 4):
        return "2.5"
    return "2.3" if number >= (2, 3) else "2.0"


def find_variant(file: CheckpointFile) -> tuple[Variant, str]:
    """Find out whether a model is dev or distilled, which tensors do not show.

    Returns:
        variant and "metadata", "file name" or "default".
    """
    for key in ("model_version", "variant", "general.name", "general.finetune"):
        text = file.metadata.get(key)
        if isinstance(text, str) and (variant := _variant_in(text)) is not None:
            return variant, "metadata"
    names = [file.path.name, *(info.path.name for info in file.tensors.values())]
    for name in dict.fromkeys(names):
        if (variant := _variant_in(name)) is not None:
            return variant, "file name"
    logger.warning(
        "%s: neither metadata nor name say whether this model is distilled; assuming it is",
        file.path,
    )
    return "distilled", "default"


def _variant_in(text: str) -> Variant | None:
    if "distill" in text.lower():
        return "distilled"
    return "dev" if re.search(r"(?<![a-z])dev(?![a-z])", text.lower()) else None
