"""Open the files of a model and find its components in them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from ltx2cpp.checkpoint import CheckpointFile, open_checkpoint
from ltx2cpp.config import AudioConfig, is_diffusion_decoder
from ltx2cpp.errors import ArgumentError, CheckpointError
from ltx2cpp.model.build import (
    build_audio_vae,
    build_connector,
    build_duration_head,
    build_preview_decoder,
    build_text_encoder,
    build_text_projection,
    build_transformer,
    build_upsampler,
    build_video_vae,
    build_vocoder,
)
from ltx2cpp.model.compatibility import check_compatible
from ltx2cpp.model.components import Component
from ltx2cpp.model.detect import (
    COMPONENT_TITLES,
    Variant,
    count_components,
    find_variant,
    find_version,
    gemma_version,
    half_of,
    model_version,
    upsampler_kind,
)
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.folders import files_in_folder
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.names import Group
from ltx2cpp.model.source import Source
from ltx2cpp.model.tokenizer_source import TokenizerSource, find_tokenizer
from ltx2cpp.paths import is_folder

logger = logging.getLogger("ltx2cpp")

# Groups of which a file in each role has to hold one; checkpoint= may hold anything.
_ROLE_GROUPS: dict[str, tuple[Group, ...]] = {
    "text_encoder": ("text_encoder",),
    "transformer": ("transformer",),
    "connectors": ("video_connector", "audio_connector"),
    "text_projection": ("text_projection",),
    "video_vae": ("video_vae",),
    "video_decoder": ("video_vae",),
    "audio_vae": ("audio_vae", "vocoder"),
    "vocoder": ("vocoder",),
    "spatial_upsampler": ("upsampler",),
    "temporal_upsampler": ("upsampler",),
    "duration_head": ("duration_head",),
    "preview_decoder": ("preview_decoder",),
    "prompt_enhancer": ("text_encoder",),
}
# Roles in which a group is looked for, best first. Connectors that come with the transformer beat
# those of a projection file: the two have been trained together.
_GROUP_ROLES: dict[Group, tuple[str, ...]] = {
    "transformer": ("transformer", "checkpoint"),
    "video_connector": (
        "connectors",
        "transformer",
        "checkpoint",
        "text_projection",
        "text_encoder",
    ),
    "text_projection": (
        "text_projection",
        "connectors",
        "transformer",
        "checkpoint",
        "text_encoder",
    ),
    "text_encoder": ("text_encoder", "checkpoint"),
    "video_vae": ("video_vae", "checkpoint", "audio_vae", "transformer"),
    "audio_vae": ("audio_vae", "checkpoint", "vocoder", "video_vae", "transformer"),
    "vocoder": ("vocoder", "audio_vae", "checkpoint", "video_vae", "transformer"),
    "duration_head": ("duration_head", "checkpoint"),
    "preview_decoder": ("preview_decoder", "checkpoint"),
}

_ADAPTER_NAME = re.compile(r"(\.lora_(A|B|down|up)\b|^lora_unet_)")


def resolve(files: ModelFiles) -> ModelSet:
    """Open all files, sort their tensors into components and read the configurations.

    Headers are read, weights are not. A component that no file holds is None; that is an error only
    when it is used.

    Args:
        files: what the user gave.

    Raises:
        ArgumentError: no file given.
        CheckpointError: a file is missing, malformed, or not what its role says.
        ConfigError: metadata out of range, or components that do not fit together.
        UnsupportedError: a model, packing or configuration value that is not implemented.
    """
    paths = _with_folder(files.paths())
    role_paths = {role: path for role, path in paths.items() if role != "tokenizer"}
    if not role_paths:
        raise ArgumentError("no model file given: expected checkpoint= or single components")
    sources = {role: _open_in_role(role, path) for role, path in role_paths.items()}
    parts = _build(sources)
    tokenizer = find_tokenizer(paths.get("tokenizer"), sources)
    leading = (
        sources.get("transformer") or sources.get("checkpoint") or next(iter(sources.values()))
    )
    version = _version(sources, leading)
    variant, variant_source = _variant(files, sources)
    models = ModelSet(
        **parts,
        tokenizer_source=tokenizer,
        enhancer_tokenizer_source=_enhancer_tokenizer(sources),
        audio_config=_audio_config(parts),
        version=version,
        model_version=model_version(leading.file),
        gemma_version=gemma_version(leading.file),
        decodes_by_diffusion=_decodes_by_diffusion(sources, parts),
        variant=variant,
        variant_source=variant_source,
        unclaimed=_unclaimed(sources.values()),
        searched=tuple(role_paths.values()),
    )
    check_compatible(models)
    return models


def _enhancer_tokenizer(sources: dict[str, Source]) -> TokenizerSource | None:
    enhancer = sources.get("prompt_enhancer")
    return None if enhancer is None else find_tokenizer(None, {"text_encoder": enhancer})


def _with_folder(paths: dict[str, Path]) -> dict[str, Path]:
    """Put the files of a folder in its place, but for roles whose files are given."""
    folder = paths.get("checkpoint")
    if folder is None or not is_folder(folder):
        return paths
    given = {role: path for role, path in paths.items() if role != "checkpoint"}
    return {**files_in_folder(folder, given), **given}


def _open_in_role(role: str, path: Path) -> Source:
    source = Source(role, open_checkpoint(path))
    groups = source.tensors.groups
    if any(_ADAPTER_NAME.search(name) for name in source.file.tensors):
        raise CheckpointError(
            f"{path}: given as {role}, but it is a LoRA, not a model; give loras="
        )
    if role == "checkpoint":
        if not groups:
            raise CheckpointError(
                f"{path}: no tensor of LTX-2 or Gemma is in this file{_architecture(source.file)}"
            )
        return source
    if not any(group in groups for group in _ROLE_GROUPS[role]):
        titles = ", ".join(COMPONENT_TITLES[name] for name in count_components(source.tensors))
        raise CheckpointError(
            f"{path}: given as {role}, but it holds no {COMPONENT_TITLES[_ROLE_GROUPS[role][0]]}, "
            f"only {titles or 'tensors of an unknown model' + _architecture(source.file)}"
        )
    if role.endswith("_upsampler") and (kind := upsampler_kind(groups["upsampler"])) != role:
        raise CheckpointError(f"{path}: given as {role}, but it is a {COMPONENT_TITLES[kind]}")
    return source


def _architecture(file: CheckpointFile) -> str:
    name = file.metadata.get("general.architecture")
    return f" (its general.architecture is {name[:40]!r})" if isinstance(name, str) else ""


def _pick(sources: dict[str, Source], group: Group) -> Source | None:
    for role in _GROUP_ROLES[group]:
        if role in sources and sources[role].group(group):
            return sources[role]
    return None


def _build(sources: dict[str, Source]) -> dict[str, Component | None]:
    parts: dict[str, Component | None] = {}
    transformer = _pick(sources, "transformer")
    if transformer:
        parts["transformer"] = build_transformer(transformer)
    # Both connectors come from one file: halves of different files were not trained together.
    if connectors := _pick(sources, "video_connector"):
        parts["video_connector"] = build_connector(connectors, "video", transformer)
        if connectors.group("audio_connector"):
            parts["audio_connector"] = build_connector(connectors, "audio", transformer)
    if text_encoder := _pick(sources, "text_encoder"):
        parts["text_encoder"] = build_text_encoder(text_encoder)
    if projection := _pick(sources, "text_projection"):
        encoder = parts.get("text_encoder")
        hidden = encoder.config.hidden_size if encoder else None
        parts["text_projection"] = build_text_projection(projection, transformer, hidden)
    if video := _pick(sources, "video_vae"):
        parts.update(build_video_vae(video))
    if own := sources.get("video_decoder"):
        # A second file of which only the decoder is taken.
        decoders = {
            name: part for name, part in build_video_vae(own).items() if "encoder" not in name
        }
        parts.update(decoders)
    if audio := _pick(sources, "audio_vae"):
        parts["audio_decoder"], parts["audio_encoder"] = build_audio_vae(audio)
    if vocoder := _pick(sources, "vocoder"):
        parts["vocoder"] = build_vocoder(vocoder)
    for role in ("spatial_upsampler", "temporal_upsampler"):
        if role in sources:
            parts[role] = build_upsampler(sources[role])
    if head := _pick(sources, "duration_head"):
        parts["duration_head"] = build_duration_head(head)
    if preview := _pick(sources, "preview_decoder"):
        parts["preview_decoder"] = build_preview_decoder(preview)
    if enhancer := sources.get("prompt_enhancer"):
        parts["prompt_enhancer"] = build_text_encoder(enhancer)
    whole = sources.get("checkpoint")
    if whole and whole.group("upsampler"):
        kind = upsampler_kind(whole.group("upsampler"))
        if kind not in parts:
            parts[kind] = build_upsampler(whole)
    return parts


def _audio_config(parts: dict[str, Component | None]) -> AudioConfig:
    vae = parts.get("audio_decoder") or parts.get("audio_encoder")
    vocoder = parts.get("vocoder")
    return AudioConfig(vae.config if vae else None, vocoder.config if vocoder else None)


def _decodes_by_diffusion(sources: dict[str, Source], parts: dict[str, Component | None]) -> bool:
    """Return whether the file that was given for its decoder, or the only one, has diffusion."""
    if parts.get("diffusion_decoder") is None:
        return False
    own = sources.get("video_decoder")
    return own is None or is_diffusion_decoder(half_of(own.group("video_vae"), "decoder"))


def _version(sources: dict[str, Source], leading: Source) -> str:
    """Return the version of the file with the transformer, else the first that a file has."""
    for source in (leading, *sources.values()):
        version, _ = find_version(source.file, source.tensors)
        if version is not None:
            return version
    return ""


def _variant(files: ModelFiles, sources: dict[str, Source]) -> tuple[Variant, str]:
    if files.variant is not None:
        return files.variant, "argument"
    transformer = _pick(sources, "transformer")
    return find_variant(transformer.file) if transformer else ("distilled", "default")


def _unclaimed(sources: Iterable[Source]) -> dict[Path, tuple[str, ...]]:
    unclaimed = {
        source.path: source.tensors.unclaimed for source in sources if source.tensors.unclaimed
    }
    for path, names in unclaimed.items():
        logger.warning(
            "%s: %d tensors belong to no known component (%s)", path, len(names), names[0]
        )
    return unclaimed
