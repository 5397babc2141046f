"""Find the files of a model in a folder of several: a diffusers folder, or one of everything."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from pathlib import Path

from ltx2cpp.checkpoint import open_checkpoint
from ltx2cpp.checkpoint.files import INDEX_SUFFIX, named_shards
from ltx2cpp.checkpoint.hub import snapshot_of
from ltx2cpp.checkpoint.parts import PartName
from ltx2cpp.checkpoint.tensors import reading
from ltx2cpp.config import is_diffusion_decoder
from ltx2cpp.errors import CheckpointError, Error
from ltx2cpp.model.adapter_keys import adapter_kind
from ltx2cpp.model.detect import COMPONENT_TITLES, half_of, upsampler_kind
from ltx2cpp.model.names import Group
from ltx2cpp.model.source import Source
from ltx2cpp.paths import is_file, is_folder

logger = logging.getLogger("ltx2cpp")

WEIGHT_SUFFIXES = (".safetensors", ".gguf")
# Folders in folders: a repository has its parts in folders, some of them by variant.
_MAX_DEPTH = 2
_MAX_MODELS = 64
# diffusers lists its components there, each in a folder of its name; other folders hold variants.
_DIFFUSERS_INDEX = "model_index.json"
_DIFFUSERS_FOLDERS = frozenset(
    (
        *("transformer", "connectors", "text_encoder", "vae", "diffusion_decoder", "audio_vae"),
        *("vocoder", "latent_upsampler"),
    )
)

# Groups of a file -> its role; the first that the file holds decides.
_ROLES: tuple[tuple[Group, str], ...] = (
    ("transformer", "transformer"),
    ("text_encoder", "text_encoder"),
    ("video_connector", "connectors"),
    ("text_projection", "text_projection"),
    ("video_vae", "video_vae"),
    ("audio_vae", "audio_vae"),
    ("vocoder", "vocoder"),
)


def files_in_folder(folder: Path, given: Collection[str]) -> dict[str, Path]:
    """Return the files of a model by role.

    Args:
        folder: a folder, also of the hub's cache.
        given: roles whose files were named, and are not looked for.

    Returns:
        argument of `ModelFiles` -> file or folder; "checkpoint" alone for a folder of one model
        file.

    Raises:
        CheckpointError: two files hold the same component, or there are too many.
    """
    models = models_in_folder(folder)
    if len(models) <= 1:
        root = snapshot_of(folder)
        return {"checkpoint": models[0] if models and models[0].parent != root else root}
    found: dict[str, Path] = {}
    doubtful: dict[str, tuple[Path, Path]] = {}
    for path in models:
        role = _role(path)
        if role in given or not role:
            continue
        if role in found:
            doubtful.setdefault(role, (found[role], path))
        found.setdefault(role, path)
    if "checkpoint" in found and "transformer" in found:
        doubtful["transformer"] = (found["checkpoint"], found["transformer"])
    for role, (first, second) in doubtful.items():
        _refuse_doubt(folder, role, first, second)
        del found[role]
    if not found:
        raise CheckpointError(
            f"{folder}: holds {len(models)} model files, and none of LTX-2 or Gemma 3"
        )
    return found


def models_in_folder(folder: Path) -> list[Path]:
    """Return the models of a folder: files, folders of one, or the first part of several.

    Args:
        folder: a folder, also of the hub's cache.

    Raises:
        CheckpointError: it cannot be listed, or holds too many.
    """
    models = list(_models(snapshot_of(folder)))
    if len(models) > _MAX_MODELS:
        raise CheckpointError(
            f"{folder}: holds {len(models)} model files (at most {_MAX_MODELS} are looked at); "
            "name those of one model"
        )
    return models


def _refuse_doubt(folder: Path, role: str, first: Path, second: Path) -> None:
    """Raise where two files could be meant; upsamplers, which few clips need, are left out."""
    title = COMPONENT_TITLES.get(role, "whole checkpoint")
    names = f"{first.relative_to(first.parents[1])} and {second.relative_to(second.parents[1])}"
    if not role.endswith("_upsampler"):
        raise CheckpointError(
            f"{folder}: holds more than one {title}, {names}; name the one to take, as {role}="
        )
    logger.warning(
        "%s: holds more than one %s, %s; none is used unless it is named", folder, title, names
    )


def _role(path: Path) -> str:
    """Return the role of a model file; "" for what is no part of a model, which is said."""
    try:
        file = open_checkpoint(path)
        if adapter_kind(file.tensors) is not None:
            return ""
        groups = Source("checkpoint", file).tensors.groups
    except Error as error:
        logger.warning("%s: left out (%s)", path, error)
        return ""
    if "upsampler" in groups:
        return upsampler_kind(groups["upsampler"])
    if "transformer" in groups and ("video_vae" in groups or "audio_vae" in groups):
        return "checkpoint"
    role = next((role for group, role in _ROLES if group in groups), "")
    # diffusers keeps the diffusion decoder beside a whole video VAE.
    decoder = half_of(groups.get("video_vae", {}), "decoder")
    alone = is_diffusion_decoder(decoder) and not half_of(groups["video_vae"], "encoder")
    return "video_decoder" if role == "video_vae" and alone else role


def _models(root: Path) -> Iterator[Path]:
    """Yield the models below a folder: files, a folder of one, or the first part of several."""
    index = root / _DIFFUSERS_INDEX
    folders = [folder for folder in _folders(root, _MAX_DEPTH) if folder != root]
    if is_file(index):
        folders = [folder for folder in folders if folder.name in _DIFFUSERS_FOLDERS]
    else:
        yield from _models_of(root)
    for folder in folders:
        models = _models_of(folder)
        # The folder of a text encoder holds its configuration and tokenizer too.
        yield from [folder] if len(models) == 1 else models


def _folders(root: Path, depth: int) -> Iterator[Path]:
    yield root
    if depth:
        with reading(root):
            entries = sorted(root.iterdir())
        for entry in entries:
            if is_folder(entry) and not entry.name.startswith("."):
                yield from _folders(entry, depth - 1)


def _models_of(folder: Path) -> list[Path]:
    with reading(folder):
        names = sorted(entry.name for entry in folder.iterdir() if is_file(entry))
    indices = [name for name in names if name.endswith(INDEX_SUFFIX)]
    listed = {shard for name in indices for shard in named_shards(folder / name).values()}
    models = [folder / name for name in indices]
    wholes: set[object] = set()
    for name in names:
        if not name.endswith(WEIGHT_SUFFIXES) or name in listed:
            continue
        part = PartName.parse(name)
        whole = part.whole if part else name
        if whole not in wholes:
            wholes.add(whole)
            models.append(folder / name)
    return models
