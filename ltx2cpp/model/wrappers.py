"""Find what publishers put before the names of a component, by what stands behind it.

A component is told by its own names, so that any prefix will do: that of another program
(`first_stage_model.`), of a wrapper (`module.`), of the wrong component (`vae.` for the audio VAE),
or none where half an autoencoder is a file of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator

_DIFFUSION, _VIDEO, _AUDIO, _VOCODER = "model.diffusion_model.", "vae.", "audio_vae.", "vocoder."
_PROJECTION = "text_embedding_projection."

# A name that a component has, in any dialect -> what the official files have before it.
_MARKS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(rf"((?:.+?\.)??){pattern}"), official)
    for pattern, official in (
        (r"(?:adaln_single|time_embed)\.emb\.timestep_embedder\.linear_1\.weight", _DIFFUSION),
        (r"(?:video_|audio_)?embeddings_connector\.learnable_registers", _DIFFUSION),
        (r"(?:video|audio)_connector\.learnable_registers", _DIFFUSION),
        (r"(?:video_|audio_)?(?:aggregate_embed|text_proj_in)\.weight", _PROJECTION),
        (r"(?:en|de)coder\.(?:up_blocks|down_blocks|mid_block)\..+\.conv\.weight", _VIDEO),
        (r"(?:en|de)coder\.(?:up|down|mid)\..+\.conv\.weight", _AUDIO),
        (r"up_blocks\.\d+\..+\.conv\.weight", f"{_VIDEO}decoder."),
        (r"down_blocks\.\d+\..+\.conv\.weight", f"{_VIDEO}encoder."),
        (r"up\.\d+\.block\..+\.conv\.weight", f"{_AUDIO}decoder."),
        (r"down\.\d+\.block\..+\.conv\.weight", f"{_AUDIO}encoder."),
        (r"bwe_generator\.conv_pre\.weight", _VOCODER),
        (r"conv_pre\.weight", _VOCODER),
        (r"initial_conv\.weight", ""),
    )
)
_STATISTICS = ("per_channel_statistics.", "latents_mean", "latents_std")
_MAX_NAME = 512
# What all marks end in, but for the first letters of a name.
_ENDINGS = (
    *("embedder.linear_1.weight", "learnable_registers", "aggregate_embed.weight"),
    *("text_proj_in.weight", ".conv.weight", "conv_pre.weight", "initial_conv.weight"),
    "self_attn.q_norm.weight",
)
_GEMMA_LAYER = re.compile(r"((?:.+?\.)??)layers\.\d+\.self_attn\.q_norm\.weight")
_GEMMA_STEMS = ("layers.", "embed_tokens.", "embed_tokens_per_layer.", "per_layer_", "norm.")
# The text model where a checkpoint of images and text has it.
_GEMMA_PREFIXES = ("language_model.model.", "model.language_model.", "model.", "")


def find_wrappers(names: Collection[str]) -> Callable[[str], str]:
    """Return a function from stored names to names with the official prefix, or none.

    Args:
        names: all names of a file.
    """
    prefixes = {**_networks(names), **_text_encoder(names)}
    order = sorted(prefixes, key=len, reverse=True)

    def unwrap(name: str) -> str:
        for prefix in order:
            if name.startswith(prefix):
                return _joined(prefixes[prefix], name[len(prefix) :])
        return name

    return unwrap


def _telling(names: Iterable[str]) -> Iterator[str]:
    """Yield the names that a mark may match; a search in very long ones would take too long."""
    for name in names:
        if len(name) <= _MAX_NAME and name.endswith(_ENDINGS):
            yield name


def _networks(names: Collection[str]) -> dict[str, str]:
    """Return what each prefix becomes; those that stay as they are are left out."""
    found: dict[str, set[str]] = {}
    for name in _telling(names):
        for mark, official in _MARKS:
            if (match := mark.fullmatch(name)) is not None:
                found.setdefault(match[1], set()).add(official)
                break
    for prefix in [prefix for prefix in found if f"{prefix}bwe_generator.conv_pre.weight" in names]:
        # One of the two generators behind it is called vocoder.
        found.pop(f"{prefix}vocoder.", None)
    settled: dict[str, str] = {}
    for prefix, officials in found.items():
        # Components that share a prefix are told apart without it.
        official = officials.copy().pop() if len(officials) == 1 else ""
        half = official.endswith("coder.")
        # A copy beside the official one, such as running averages, stays a stranger.
        is_copy = prefix != official and official in found and bool(official)
        is_bare = not prefix and not (half and len(found) == 1)
        if prefix != official and not is_copy and not is_bare:
            settled[prefix] = official
    return settled


def _text_encoder(names: Collection[str]) -> dict[str, str]:
    """Return what the beginnings of the text encoder's names become, where they are unusual.

    The layers of a vision tower have no such norm, and no embedding of tokens.
    """
    matches = map(_GEMMA_LAYER.fullmatch, _telling(names))
    prefixes = {match[1] for match in matches if match is not None}
    prefixes = {prefix for prefix in prefixes if f"{prefix}embed_tokens.weight" in names}
    if len(prefixes) != 1 or prefixes & set(_GEMMA_PREFIXES):
        return {}
    (prefix,) = prefixes
    return {f"{prefix}{stem}": f"model.{stem}" for stem in _GEMMA_STEMS}


def _joined(official: str, rest: str) -> str:
    """Return a name behind an official prefix; statistics belong to both halves."""
    if official.endswith("coder.") and rest.startswith(_STATISTICS):
        official = official.rpartition(".")[0].rpartition(".")[0] + "."
    return official + rest
