"""Readers of model files: headers, parts, folders, configurations, vocabularies and LoRAs."""

from __future__ import annotations

import functools
import io
import itertools
import math
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

from released.configs import released_config
from released.layouts import released_tensors

from fuzzing.containers import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U8,
    U16,
    U32,
    U64,
    changed_gguf,
    changed_layout,
    gguf_tree,
    header_of,
    write_file,
    write_gguf,
    write_safetensors,
)
from fuzzing.mutations import changed, changed_entries, damaged, pick_text, pick_value, to_json
from fuzzing.reader import HEADER_CEILING, MODEL_CEILING, Reader
from ltx2cpp.checkpoint import CheckpointFile, open_checkpoint
from ltx2cpp.demo import demo_files
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.model.inspection import inspect_file
from ltx2cpp.model.lora import AdaptedModels
from ltx2cpp.model.model_set import ModelSet
from ltx2cpp.model.resolve import resolve
from ltx2cpp.options import LoraSpec

Rng = random.Random

_LAYOUT = {
    "model.diffusion_model.patchify_proj.weight": ("BF16", [8, 4]),
    "blocks.0.bias": ("F32", [4]),
    "blocks.1.weight": ("F8_E4M3", [3, 8]),
    "blocks.1.weight_scale": ("F32", []),
    "table": ("U8", [7]),
}
_METADATA = {"config": "{}", "model_version": "2.3.0", "format": "pt"}
_KEYS = [
    ("general.architecture", STRING, "ltxv"),
    ("general.alignment", U32, 32),
    ("flags", BOOL, 1),
    ("numbers", ARRAY, (F32, [1.0, 2.0, 3.0])),
    ("words", ARRAY, (STRING, ["a", "bc", "déf"])),
    ("nested", ARRAY, (ARRAY, [(U8, [1, 2]), (U64, [])])),
    ("comfy.gguf.orig_shape.conv", ARRAY, (I32, [2, 2, 1, 2, 2])),
]
_TENSORS = {"matrix": (8, [32, 4]), "vector": (0, [6]), "conv": (1, [2, 2, 4]), "b": (30, [8, 12])}


def check_opened(file: CheckpointFile) -> None:
    """Check again what the core relies on, of a file that was accepted."""
    spans: dict[Path, list[tuple[int, int]]] = {}
    for name, info in file.tensors.items():
        assert info.name == name and 1 <= len(name.encode()) <= 256 and name.isprintable(), name
        assert all(0 <= extent < 1 << 63 for extent in info.shape) and len(info.shape) <= 8, name
        elements = math.prod(info.shape)
        assert elements % info.dtype.block_elements == 0, name
        blocks = elements // info.dtype.block_elements
        assert info.size_bytes == blocks * info.dtype.block_bytes, name
        spans.setdefault(info.path, []).append((info.offset, info.offset + info.size_bytes))
    for path, ranges in spans.items():
        ranges.sort()
        assert ranges[0][0] > 0 and ranges[-1][1] <= path.stat().st_size, path
        assert all(first[1] <= after[0] for first, after in itertools.pairwise(ranges)), path


# -- headers


def _make_safetensors(rng: Rng, folder: Path) -> Path:
    if rng.random() < 0.3:
        header, size = header_of(changed_layout(_LAYOUT, rng), _METADATA)
    else:
        header, size = header_of(_LAYOUT, _METADATA)
        header = changed(header, rng)
    return write_safetensors(folder / "model.safetensors", header, size, rng)


def _make_gguf(rng: Rng, folder: Path) -> Path:
    return write_gguf(folder / "model.gguf", changed_gguf(_gguf(), rng), rng)


@functools.cache
def _gguf() -> dict[str, Any]:
    return gguf_tree(_KEYS, _TENSORS)


def _read_header(path: Path) -> None:
    check_opened(open_checkpoint(path))


def _make_pickle(rng: Rng, folder: Path) -> Path:
    protocol = rng.randrange(6)
    content = pickle.dumps({"state_dict": {"a.weight": [1.0] * 20}, "epoch": 3}, protocol=protocol)
    if rng.random() < 0.4:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/data/0", bytes(64))
        content = packed.getvalue()
    if rng.random() < 0.7:
        # The beginning stays what it was, so that it is known for what it is.
        content = content[:4] + damaged(content[4:], rng)
    suffix = rng.choice((".pt", ".ckpt", ".bin", ".safetensors", ".gguf", ".pkl"))
    return write_file(folder / f"model{suffix}", content)


def _read_pickle(path: Path) -> None:
    file = open_checkpoint(path)
    raise AssertionError(f"opened as {file.kind}")


# -- several files


def _make_split(rng: Rng, folder: Path) -> Path:
    total = rng.choice((2, 2, 3))
    names = [f"m-{index + 1:05d}-of-{total:05d}.gguf" for index in range(total)]
    broken = rng.randrange(total)
    for index, name in enumerate(names):
        keys = [
            ("split.no", U16, index),
            ("split.count", U16, total),
            ("split.tensors.count", I32, total),
        ]
        tree = gguf_tree(
            keys + ([] if index else _KEYS[:2]), {f"blocks.{index}.weight": (0, [4, 2])}
        )
        if index == broken and rng.random() < 0.8:
            tree = changed_gguf(tree, rng)
        if index == broken and rng.random() < 0.2:
            name = rng.choice((names[0], pick_name(rng), f"m-{index:05d}-of-{total:05d}.gguf"))
        write_gguf(folder / name, tree, rng)
    return folder if rng.random() < 0.4 else folder / rng.choice(names)


def pick_name(rng: Rng) -> str:
    """Return a text that can be the name of a file."""
    text = "".join(each for each in pick_text(rng) if each not in "/\0" and each.isascii())
    return text[:200] if text.strip(".") else "a.safetensors"


def _make_folder(rng: Rng, folder: Path) -> Path:
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    root, holder = folder, folder
    hub = rng.random() < 0.35
    if hub:
        root = folder / "models--a--b"
        holder = root / "snapshots" / "0123456789abcdef"
        for each in (holder, root / "blobs", root / "refs"):
            each.mkdir(parents=True)
        revision = "0123456789abcdef" if rng.random() < 0.7 else pick_text(rng)
        (root / "refs" / "main").write_bytes(revision.encode("utf-8", "surrogatepass"))
    weight_map: dict[str, Any] = {}
    for shard, (name, entry) in zip(shards, list(_LAYOUT.items())[:2], strict=True):
        header, size = header_of({name: entry}, _METADATA)
        weight_map[name] = shard
        if rng.random() < 0.15:
            header = changed(header, rng)
        target = root / "blobs" / shard[6:11] if hub else holder / shard
        if rng.random() < 0.95:
            write_safetensors(target, header, size, rng)
        if hub:
            (holder / shard).symlink_to(Path("../../blobs") / shard[6:11])
    index: Any = {"metadata": {"total_size": 80}, "weight_map": weight_map}
    if rng.random() < 0.7:
        index = changed(index, rng)
    if rng.random() < 0.8:
        content = to_json(index, rng)
        damage = rng.random() < 0.15
        write_file(
            holder / "model.safetensors.index.json", damaged(content, rng) if damage else content
        )
    if rng.random() < 0.4:
        _add_stranger(rng, holder)
    if rng.random() < 0.2:
        write_file(holder / "model_index.json", to_json(changed(_DIFFUSERS, rng), rng))
        (holder / "transformer").mkdir(exist_ok=True)
        write_file(holder / "transformer" / "config.json", to_json(pick_value(rng), rng))
    entries = sorted(holder.iterdir())
    return rng.choice((folder, root, holder, holder, rng.choice(entries) if entries else holder))


_DIFFUSERS = {
    "_class_name": "LTX2Pipeline",
    "transformer": ["diffusers", "LTX2VideoTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLLTX2Video"],
    "tokenizer": ["transformers", "GemmaTokenizerFast"],
}


def _add_stranger(rng: Rng, folder: Path) -> None:
    """Put something into a folder that has no place there."""
    kind = rng.randrange(6)
    path = folder / rng.choice(
        ("b.safetensors", "b.gguf", "a.safetensors.index.json", "é.safetensors")
    )
    if kind == 0:
        path.symlink_to(path.name)
    elif kind == 1:
        path.symlink_to("nowhere")
    elif kind == 2:
        path.symlink_to(folder)
    elif kind == 3:
        path.mkdir()
    elif kind == 4:
        os.mkfifo(path)
    else:
        path.write_bytes(rng.choice((b"", b"version https://git-lfs.github.com/spec/v1\n", b"{}")))


def _read_folder(path: Path) -> None:
    check_opened(open_checkpoint(path))
    inspect_file(path)


# -- models and their configurations

_PREFIXES = {
    "transformer": ("model.diffusion_model.",),
    "video_vae": ("vae.",),
    "audio_vae": ("audio_vae.",),
    "vocoder": ("vocoder.",),
    "text_projection": ("text_embedding_projection.",),
}
UPSAMPLER_CONFIG = {
    "_class_name": "LatentUpsampler",
    "in_channels": 128,
    "mid_channels": 64,
    "num_blocks_per_stage": 1,
    "dims": 3,
    "spatial_upsample": True,
    "temporal_upsample": False,
    "spatial_scale": 2.0,
    "rational_resampler": False,
}


def upsampler_layout(channels: int, mid: int, dtype: str) -> dict[str, tuple[str, list[int]]]:
    """Return the tensors of a spatial upsampler of one block per stage."""
    shapes: dict[str, list[int]] = {
        "initial_conv.weight": [mid, channels, 3, 3, 3],
        "initial_norm.weight": [mid],
        "upsampler.0.weight": [4 * mid, mid, 3, 3],
        "final_conv.weight": [channels, mid, 3, 3, 3],
    }
    for stage in ("res_blocks", "post_upsample_res_blocks"):
        for number in (1, 2):
            shapes[f"{stage}.0.conv{number}.weight"] = [mid, mid, 3, 3, 3]
            shapes[f"{stage}.0.norm{number}.weight"] = [mid]
    biases = {f"{name.removesuffix('weight')}bias": shape[:1] for name, shape in shapes.items()}
    return {name: (dtype, shape) for name, shape in (shapes | biases).items()}


@functools.cache
def _components() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return role, layout and configuration of each component of the released models."""
    components: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("spatial_upsampler", dict(upsampler_layout(128, 64, "BF16")), UPSAMPLER_CONFIG)
    ]
    for version in ("2.0", "2.3"):
        tensors = released_tensors(version, 1)
        config = released_config(version, 1)
        for role, prefixes in _PREFIXES.items():
            layout = {
                name: (dtype, list(shape))
                for name, (dtype, shape) in tensors.items()
                if name.startswith(prefixes)
            }
            # The vocoder of 2.3 has more tensors than all other components together.
            if len(layout) < 1000:
                components.append((role, layout, config))
    return components


def _make_model(rng: Rng, folder: Path) -> Path:
    role, layout, config = rng.choice(_components())
    if rng.random() < 0.5:
        layout = changed_layout(layout, rng)
    if rng.random() < 0.7:
        config = changed(config, rng)
    text = to_json(config, rng).decode("utf-8", "replace")
    if rng.random() < 0.1:
        text = damaged(text.encode(), rng).decode("utf-8", "replace")
    metadata: dict[str, Any] = {"config": text, "model_version": "2.3.0"}
    if rng.random() < 0.1:
        metadata = changed_entries(metadata, rng)
    header, size = header_of(layout, metadata)
    return write_safetensors(folder / f"{role}.safetensors", header, size, rng)


def _read_model(path: Path) -> None:
    inspect_file(path)
    resolve(ModelFiles(**{path.stem: path}))


# -- LoRAs

_PAIR = (("lora_A.weight", "rank", "in"), ("lora_B.weight", "out", "rank"))
# Prefix, and what an adapter has for each module: name and rows and columns.
ADAPTER_FORMS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("diffusion_model.", _PAIR),
    ("", (("lora_down.weight", "rank", "in"), ("lora_up.weight", "out", "rank"))),
    ("transformer.", (("lora.down.weight", "rank", "in"), ("lora.up.weight", "out", "rank"))),
    ("base_model.model.", (("lora_A.x.weight", "rank", "in"), ("lora_B.x.weight", "out", "rank"))),
    ("diffusion_model.", (*_PAIR, ("dora_scale", "out", "one"))),
    ("diffusion_model.", (("lokr_w1", "two", "two"), ("lokr_w2", "half_out", "half_in"))),
    (
        "diffusion_model.",
        (
            ("lokr_w1", "two", "two"),
            ("lokr_w2_a", "half_out", "rank"),
            ("lokr_w2_b", "rank", "half_in"),
        ),
    ),
    (
        "diffusion_model.",
        (
            ("hada_w1_a", "out", "rank"),
            ("hada_w1_b", "rank", "in"),
            ("hada_w2_a", "out", "rank"),
            ("hada_w2_b", "rank", "in"),
        ),
    ),
)
_MODULES = (
    ("transformer_blocks.0.attn1.to_q", 128, 128),
    ("transformer_blocks.1.ff.net.2", 128, 512),
    ("patchify_proj", 128, 64),
    ("video_embeddings_connector.transformer_1d_blocks.0.attn1.to_k", 128, 128),
)
_ADAPTER = {"r": 4, "lora_alpha": 8, "alpha_pattern": {"patchify_proj": 2}, "use_rslora": False}


def adapter_layout(form: Any, module: str, out: int, width: int, dtype: str) -> dict[str, Any]:
    """Return the tensors of one module of an adapter in one of `ADAPTER_FORMS`."""
    prefix, parts = form
    sizes = {"out": out, "in": width, "rank": 4, "one": 1, "two": 2}
    sizes |= {"half_out": out // 2, "half_in": width // 2}
    return {
        f"{prefix}{module}.{name}": (dtype, [sizes[rows], sizes[columns]])
        for name, rows, columns in parts
    }


def _make_lora(rng: Rng, folder: Path) -> Path:
    form = rng.choice(ADAPTER_FORMS)
    dtype = rng.choice(("F32", "BF16", "F16"))
    layout: dict[str, Any] = {}
    for module, out, width in _MODULES[: rng.randrange(1, 5)]:
        layout |= adapter_layout(form, module, out, width, dtype)
        if rng.random() < 0.4:
            layout[f"{form[0]}{module}.alpha"] = ("F32", [])
    metadata: Any = {"format": "pt", "reference_downscale_factor": "2"}
    if rng.random() < 0.3:
        config = {f"transformer.{key}": value for key, value in _ADAPTER.items()}
        text = to_json(changed(config, rng), rng).decode("utf-8", "replace")
        metadata["lora_adapter_metadata"] = text
    layout = changed_layout(layout, rng) if rng.random() < 0.7 else layout
    metadata = changed(metadata, rng) if rng.random() < 0.4 else metadata
    header, size = header_of(layout, {})
    header["__metadata__"] = metadata
    if rng.random() < 0.3:
        write_file(folder / "adapter_config.json", to_json(changed(_ADAPTER, rng), rng))
        write_safetensors(folder / "adapter_model.safetensors", header, size, rng)
        return folder if rng.random() < 0.5 else folder / "adapter_model.safetensors"
    # Whatever is an alpha is 1.
    ones = struct.pack("<f", 1.0) * (min(size, 1 << 20) // 4)
    return write_safetensors(folder / "lora.safetensors", header, size, rng, ones)


def _read_lora(path: Path) -> None:
    AdaptedModels(_demo_models()).match([LoraSpec(path)])


@functools.cache
def _demo_models() -> ModelSet:
    return resolve(demo_files())


# -- the table


def model_readers() -> list[Reader]:
    """Return the readers of model files."""
    return [
        Reader("safetensors", 120, HEADER_CEILING, _make_safetensors, _read_header),
        Reader("gguf", 120, HEADER_CEILING, _make_gguf, _read_header),
        Reader("split-gguf", 40, HEADER_CEILING, _make_split, _read_header),
        Reader("folder", 40, MODEL_CEILING, _make_folder, _read_folder),
        Reader("pickle", 40, HEADER_CEILING, _make_pickle, _read_pickle),
        Reader("model", 12, MODEL_CEILING, _make_model, _read_model),
        Reader("lora", 40, MODEL_CEILING, _make_lora, _read_lora),
    ]
