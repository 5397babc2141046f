"""One model as many publish it: publishers choose names, cuts and shapes, packings the files."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from released.diffusers_names import TRANSFORMER_PARTS, rename_parts

from helpers.checkpoint_writers import STRING, U32, gguf_key, write_gguf
from helpers.stored_models import DIT, Model, Stored, renamed, write_stored

Parts = dict[str, Model]
Metadata = Mapping[str, str]


def _starting(model: Model, *prefixes: str) -> Model:
    return {name: tensor for name, tensor in model.items() if name.startswith(prefixes)}


def _without(model: Model, prefix: str, instead: str = "") -> Model:
    """The part behind a prefix, behind another one."""
    return {
        instead + name[len(prefix) :]: tensor
        for name, tensor in model.items()
        if name.startswith(prefix)
    }


def _reshaped(model: Model, group: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Model:
    return {name: replace(tensor, shape=group(tensor.shape)) for name, tensor in model.items()}


def as_ggml_stores(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Merge the two slowest of five axes and drop leading extents of 1."""
    if len(shape) == 5:
        shape = (shape[0] * shape[1], *shape[2:])
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


# -- publishers: the official model to parts, by the argument of ModelFiles -----------------------


def official(model: Model) -> Parts:
    return {"checkpoint": model}


def split(model: Model) -> Parts:
    """Components without their prefixes, connectors with the transformer."""
    return {
        "transformer": _without(model, DIT),
        "video_vae": _without(model, "vae."),
        "audio_vae": _starting(model, "audio_vae.", "vocoder."),
        "text_projection": _without(model, "text_embedding_projection."),
    }


def split_finely(model: Model) -> Parts:
    """The vocoder, the connectors and the projection each alone."""
    connectors = (f"{DIT}video_embeddings_connector.", f"{DIT}audio_embeddings_connector.")
    transformer = {
        name: tensor
        for name, tensor in _starting(model, DIT).items()
        if not name.startswith(connectors)
    }
    return {
        "transformer": transformer,
        "connectors": _without(_starting(model, *connectors), DIT),
        "video_vae": _without(model, "vae.", "first_stage_model."),
        "audio_vae": _without(model, "audio_vae."),
        "vocoder": _without(model, "vocoder."),
        "text_projection": _starting(model, "text_embedding_projection."),
    }


def other_prefixes(model: Model) -> Parts:
    """Prefixes of other programs, and one of the wrong component."""
    return {
        "transformer": _without(model, DIT, "model."),
        "video_vae": _without(model, "vae.", "model.vae."),
        "audio_vae": {
            **_without(model, "audio_vae.", "vae."),
            **_without(model, "vocoder.", "generator."),
        },
        "text_projection": _without(model, "text_embedding_projection.", "text_encoder.proj."),
    }


def wrapped(model: Model) -> Parts:
    """Everything behind one more prefix."""
    return {"checkpoint": renamed(model, lambda name: f"module.{name}")}


def halves(model: Model) -> Parts:
    """Decoders alone, without the name of their half."""
    audio = _without(model, "audio_vae.decoder.") | _starting(
        _without(model, "audio_vae."), "per_channel"
    )
    video = _without(model, "vae.decoder.") | _starting(_without(model, "vae."), "per_channel")
    return {
        "transformer": _without(model, DIT, "diffusion_model."),
        "video_vae": video,
        "audio_vae": audio,
        "vocoder": _starting(model, "vocoder."),
        "text_projection": _without(model, "text_embedding_projection."),
    }


def cpp(model: Model) -> Parts:
    """What converters on ggml make of shapes."""
    return {"checkpoint": _reshaped(model, as_ggml_stores)}


def matrices(model: Model) -> Parts:
    """Kernels as matrices, to be quantised like them."""
    return {
        "checkpoint": _reshaped(
            model, lambda shape: (shape[0], math.prod(shape[1:])) if len(shape) > 2 else shape
        )
    }


def squeezed(model: Model) -> Parts:
    """No extents of 1."""
    return {
        "checkpoint": _reshaped(
            model, lambda shape: tuple(extent for extent in shape if extent > 1) or (1,)
        )
    }


_DIFFUSERS = {
    **TRANSFORMER_PARTS,
    "video_embeddings_connector": "video_connector",
    "audio_embeddings_connector": "audio_connector",
    "transformer_1d_blocks": "transformer_blocks",
    "video_aggregate_embed": "video_text_proj_in",
    "audio_aggregate_embed": "audio_text_proj_in",
}
_DIFFUSERS_VOCODER = {
    "ups": "upsamplers",
    "resblocks": "resnets",
    "conv_pre": "conv_in",
    "conv_post": "conv_out",
    "act_post": "act_out",
}
_DIFFUSERS_STATISTICS = {
    "per_channel_statistics.mean-of-means": "latents_mean",
    "per_channel_statistics.std-of-means": "latents_std",
}


def diffusers(model: Model) -> Parts:
    """The names of diffusers, a component each."""

    def spelt(part: Model, names: Mapping[str, str]) -> Model:
        return renamed(part, lambda name: rename_parts(name, names))

    transformer = _without(model, DIT)
    connectors = {name: each for name, each in transformer.items() if "connector" in name}
    own = {name: each for name, each in transformer.items() if "connector" not in name}
    projection = _without(model, "text_embedding_projection.")
    vocoder = spelt(_without(model, "vocoder."), _DIFFUSERS_VOCODER)
    return {
        "transformer": spelt(own, _DIFFUSERS),
        "connectors": spelt({**connectors, **projection}, _DIFFUSERS),
        "video_vae": renamed(_without(model, "vae."), _diffusers_block),
        "audio_vae": renamed(
            _without(model, "audio_vae."), lambda name: _DIFFUSERS_STATISTICS.get(name, name)
        ),
        "vocoder": renamed(vocoder, lambda name: name.replace("downsample.lowpass", "downsample")),
    }


def _diffusers_block(name: str) -> str:
    """The name of a tensor of the video VAE, whose blocks diffusers groups in another way."""
    match = re.fullmatch(r"(encoder|decoder)\.(?:down|up)_blocks\.(\d+)\.(.+)", name)
    if match is None:
        return _DIFFUSERS_STATISTICS.get(name, name)
    half, number, inner = match[1], int(match[2]), match[3].replace("res_blocks.", "resnets.")
    # The fixture has nine blocks in each half.
    middle = number == (8 if half == "encoder" else 0)
    if middle:
        return f"{half}.mid_block.{inner}"
    index = number // 2 if half == "encoder" else (number - 1) // 2
    if half == "encoder":
        resampler = "" if number % 2 == 0 else "downsamplers.0."
        return f"{half}.down_blocks.{index}.{resampler}{inner}"
    resampler = "" if number % 2 == 0 else "upsamplers.0."
    return f"{half}.up_blocks.{index}.{resampler}{inner}"


# Class and configuration of the fixture's components, as diffusers would write them.
_DIFFUSERS_CONFIGS: dict[str, dict[str, object]] = {
    "transformer": {
        "_class_name": "LTX2VideoTransformer3DModel",
        "num_attention_heads": 4,
        "attention_head_dim": 32,
        "audio_num_attention_heads": 4,
        "audio_attention_head_dim": 16,
        "num_layers": 4,
        "rope_type": "split",
        "rope_double_precision": True,
        "gated_attn": True,
        "cross_attn_mod": True,
        "pos_embed_max_pos": 20,
        "base_height": 2048,
        "base_width": 2048,
        "timestep_scale_multiplier": 1000,
        "cross_attn_timestep_scale_multiplier": 1000,
        "use_prompt_embeddings": False,
    },
    "connectors": {
        "_class_name": "LTX2TextConnectors",
        "caption_channels": 96,
        "video_connector_num_attention_heads": 4,
        "video_connector_attention_head_dim": 32,
        "audio_connector_num_attention_heads": 4,
        "audio_connector_attention_head_dim": 16,
        "video_gated_attn": True,
        "rope_type": "split",
        "per_modality_projections": True,
    },
    "video_vae": {
        "_class_name": "AutoencoderKLLTX2Video",
        "latent_channels": 16,
        "encoder_spatial_padding_mode": "zeros",
        "decoder_spatial_padding_mode": "zeros",
    },
}


def diffusers_config(role: str, config: Mapping[str, Any]) -> dict[str, object]:
    """Return the config.json of a component; `config` is that of the official file."""
    if role in _DIFFUSERS_CONFIGS:
        return _DIFFUSERS_CONFIGS[role]
    if role == "audio_vae":
        dd = config["audio_vae"]["model"]["params"]["ddconfig"]
        return {
            "_class_name": "AutoencoderKLLTX2Audio",
            "base_channels": dd["ch"],
            "output_channels": dd["out_ch"],
            "latent_channels": dd["z_channels"],
            "ch_mult": dd["ch_mult"],
            "mel_bins": dd["mel_bins"],
        }
    vocoder, bwe = config["vocoder"]["vocoder"], config["vocoder"]["bwe"]
    names = {
        "upsample_initial_channel": "hidden_channels",
        "upsample_rates": "upsample_factors",
        "upsample_kernel_sizes": "upsample_kernel_sizes",
        "resblock_kernel_sizes": "resnet_kernel_sizes",
        "resblock_dilation_sizes": "resnet_dilations",
    }
    stft = {
        "n_fft": "filter_length",
        "hop_length": "hop_length",
        "win_size": "window_length",
        "num_mels": "num_mel_channels",
        "input_sampling_rate": "input_sampling_rate",
        "output_sampling_rate": "output_sampling_rate",
    }
    return {
        "_class_name": "LTX2VocoderWithBWE",
        **{own: vocoder[key] for key, own in names.items() if key in vocoder},
        **{f"bwe_{own}": bwe[key] for key, own in names.items() if key in bwe},
        **{own: bwe[key] for key, own in stft.items() if key in bwe},
        "final_act_fn": None,
        "bwe_final_act_fn": None,
    }


def diffusers_folder(folder: Path, model: Model, config: Mapping[str, Any], gemma: Path) -> Path:
    """Write a whole pipeline as diffusers saves it."""
    folders = {"video_vae": "vae"}
    for role, part in diffusers(model).items():
        own = folder / folders.get(role, role)
        own.mkdir(parents=True)
        write_stored(own / "diffusion_pytorch_model.safetensors", part)
        (own / "config.json").write_text(json.dumps(diffusers_config(role, config)))
    # Another variant, which the index does not name.
    full = folder / "transformer_full"
    full.mkdir()
    write_stored(full / "diffusion_pytorch_model.safetensors", diffusers(model)["transformer"])
    for name in ("text_encoder", "tokenizer"):
        (folder / name).mkdir()
    for path in gemma.iterdir():
        target = "tokenizer" if path.name.startswith(("tokenizer", "special")) else "text_encoder"
        (folder / target / path.name).write_bytes(path.read_bytes())
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LTX2Pipeline"}))
    return folder


def silent(model: Model) -> Parts:
    """The video stream alone."""
    parts = ("audio", "av_ca", "a2v", "v2a", "vocoder")
    kept = renamed(model, lambda name: None if any(part in name for part in parts) else name)
    return {"checkpoint": kept}


PUBLISHERS: dict[str, Callable[[Model], Parts]] = {
    each.__name__.replace("_", " "): each
    for each in (
        official,
        split,
        split_finely,
        other_prefixes,
        wrapped,
        halves,
        cpp,
        matrices,
        squeezed,
        diffusers,
        silent,
    )
}


# -- packings: one part to what a user names ------------------------------------------------------


def one_safetensors(folder: Path, name: str, part: Model, metadata: Metadata) -> Path:
    return write_stored(folder / f"{name}.safetensors", part, metadata)


def one_gguf(folder: Path, name: str, part: Model, metadata: Metadata) -> Path:
    return write_stored(folder / f"{name}.gguf", part, metadata)


def gguf_in_parts(folder: Path, name: str, part: Model, metadata: Metadata) -> Path:
    """Named by its second part."""
    pieces = _pieces(part, 3)
    paths = []
    for number, piece in enumerate(pieces):
        keys = [gguf_key("split.no", U32, number), gguf_key("split.count", U32, len(pieces))]
        if number == 0:
            keys += [gguf_key("split.tensors.count", U32, len(part))]
            keys += [gguf_key(key, STRING, value) for key, value in metadata.items()]
        described = {key: (tensor.dtype, tensor.shape) for key, tensor in piece.items()}
        data = {key: tensor.data for key, tensor in piece.items()}
        path = folder / f"{name}-{number + 1:05d}-of-{len(pieces):05d}.gguf"
        paths.append(write_gguf(path, described, keys, data))
    return paths[1]


def shards(folder: Path, name: str, part: Model, metadata: Metadata) -> Path:
    """A folder of shards with their index."""
    folder = folder / name
    folder.mkdir()
    pieces = _pieces(part, 2)
    weight_map: dict[str, str] = {}
    for number, piece in enumerate(pieces):
        path = folder / f"model-{number + 1:05d}-of-{len(pieces):05d}.safetensors"
        write_stored(path, piece, metadata)
        weight_map |= dict.fromkeys(piece, path.name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def hub_cache(folder: Path, name: str, part: Model, metadata: Metadata) -> Path:
    """The root that the hub's client keeps of a repository: links in a snapshot to blobs."""
    root = folder / f"models--someone--{name}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    for each in ("blobs", "refs", f"snapshots/{commit}"):
        (root / each).mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    blob = write_stored(root / "blobs" / "model.safetensors", part, metadata)
    blob = blob.rename(blob.with_name("5f" * 32))
    link = root / "snapshots" / commit / f"{name}.safetensors"
    link.symlink_to(os.path.relpath(blob, link.parent))
    return root


def _pieces(part: Mapping[str, Stored], count: int) -> list[Model]:
    names = list(part)
    size = -(-len(names) // count)
    return [
        {name: part[name] for name in names[start : start + size]}
        for start in range(0, len(names), size)
    ]


Packing = Callable[[Path, str, Model, Metadata], Path]
PACKINGS: dict[str, Packing] = {
    each.__name__.replace("_", " "): each
    for each in (one_safetensors, one_gguf, gguf_in_parts, shards, hub_cache)
}
