"""Sort the tensors of any known layout into components, under the official names.

Source: names of the released LTX-2 files, diffusers' conversion tables, llama.cpp's names of Gemma,
ComfyUI's single files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ltx2cpp.checkpoint import CheckpointFile, TensorInfo
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model.llama_cpp import canonical_name
from ltx2cpp.model.stored_shapes import restore_shapes
from ltx2cpp.model.weight_scales import unpack_pairs
from ltx2cpp.model.wrappers import find_wrappers

Group = Literal[
    "transformer",
    "video_connector",
    "audio_connector",
    "text_projection",
    "text_encoder",
    "video_vae",
    "audio_vae",
    "vocoder",
    "upsampler",
    "duration_head",
    "preview_decoder",
    "tokenizer",
]
Layout = Literal["official", "diffusers", "llama.cpp"]

GROUP_TITLES: dict[Group, str] = {
    "transformer": "transformer",
    "video_connector": "video embeddings connector",
    "audio_connector": "audio embeddings connector",
    "text_projection": "text projection",
    "text_encoder": "text encoder",
    "video_vae": "video VAE",
    "audio_vae": "audio VAE",
    "vocoder": "vocoder",
    "upsampler": "latent upsampler",
    "duration_head": "duration head",
    "preview_decoder": "preview decoder",
    "tokenizer": "tokenizer",
}


@dataclass(frozen=True, slots=True)
class SortedTensors:
    """The tensors of one file by component.

    Attributes:
        groups: component -> canonical name -> tensor.
        ignored: known names without a use here (vision tower, tied output head, markers).
        unclaimed: names that belong to nothing known.
        layouts: dialect of each component in the file.
    """

    groups: dict[Group, dict[str, TensorInfo]]
    ignored: tuple[str, ...]
    unclaimed: tuple[str, ...]
    layouts: dict[Group, Layout] = field(default_factory=dict)


# Prefixes that say the component, longest first where one starts another.
_DIFFUSION_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.")
_PREFIXES: tuple[tuple[str, Group], ...] = (
    ("video_embeddings_connector.", "video_connector"),
    ("audio_embeddings_connector.", "audio_connector"),
    # Spelling of video-only files before LTX-2.
    ("embeddings_connector.", "video_connector"),
    ("video_connector.", "video_connector"),
    ("audio_connector.", "audio_connector"),
    ("text_embedding_projection.", "text_projection"),
    ("vae.", "video_vae"),
    ("audio_vae.", "audio_vae"),
    ("duration_head.", "duration_head"),
)
_PROJECTION_STEMS = {
    "aggregate_embed": "aggregate_embed",
    "video_aggregate_embed": "video_aggregate_embed",
    "audio_aggregate_embed": "audio_aggregate_embed",
    "text_proj_in": "aggregate_embed",
    "video_text_proj_in": "video_aggregate_embed",
    "audio_text_proj_in": "audio_aggregate_embed",
}
_TRANSFORMER_STEMS = frozenset(
    (
        "transformer_blocks",
        "patchify_proj",
        "audio_patchify_proj",
        "proj_out",
        "audio_proj_out",
        "scale_shift_table",
        "audio_scale_shift_table",
        "keyframes_abs_pos_embedding",
        "adaln_single",
        "audio_adaln_single",
        "prompt_adaln_single",
        "audio_prompt_adaln_single",
        "av_ca_video_scale_shift_adaln_single",
        "av_ca_audio_scale_shift_adaln_single",
        "av_ca_a2v_gate_adaln_single",
        "av_ca_v2a_gate_adaln_single",
        "caption_projection",
        "audio_caption_projection",
    )
)
# diffusers' name of a part between dots -> the official one.
_DIFFUSERS_TRANSFORMER = {
    "proj_in": "patchify_proj",
    "audio_proj_in": "audio_patchify_proj",
    "time_embed": "adaln_single",
    "audio_time_embed": "audio_adaln_single",
    "prompt_adaln": "prompt_adaln_single",
    "audio_prompt_adaln": "audio_prompt_adaln_single",
    "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
    "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
    "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
    "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
    "video_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_video",
    "audio_a2v_cross_attn_scale_shift_table": "scale_shift_table_a2v_ca_audio",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}
_DIFFUSERS_CONNECTOR = {
    "transformer_blocks": "transformer_1d_blocks",
    "norm_q": "q_norm",
    "norm_k": "k_norm",
}
_DIFFUSERS_VOCODER = {
    "upsamplers": "ups",
    "resnets": "resblocks",
    "conv_in": "conv_pre",
    "conv_out": "conv_post",
    "act_out": "act_post",
}
# The diffusion decoder. Queries, keys and values stay apart, which are one layer in official files.
_DIFFUSERS_DECODER = re.compile(
    r"(decoder\.(?:(?:det_stages|diff_blocks)\.\d.*\.attn|t_embedder)\.)"
    r"(norm_q|norm_k|to_out\.0|timestep_embedder\.linear_[12])(?=\.)"
)
_DIFFUSERS_DECODER_PARTS = {
    "norm_q": "q_norm",
    "norm_k": "k_norm",
    "to_out.0": "proj",
    "timestep_embedder.linear_1": "mlp.0",
    "timestep_embedder.linear_2": "mlp.2",
}
_STATISTICS = {
    "latents_mean": "per_channel_statistics.mean-of-means",
    "latents_std": "per_channel_statistics.std-of-means",
}
# Further statistics that some files carry; the last one also ends in "std-of-means".
_UNUSED_STATISTICS = frozenset(
    f"per_channel_statistics.{name}"
    for name in ("channel", "mean-of-stds", "mean-of-stds_over_std-of-means")
)
# A preview head of the diffusion decoder, and a mark for a later decode with keyframes.
_UNUSED_DECODER = ("decoder.coarse_", "decoder.type_emb")
_UPSAMPLER_STEMS = frozenset(
    (
        "initial_conv",
        "initial_norm",
        "res_blocks",
        "upsampler",
        "post_upsample_res_blocks",
        "final_conv",
    )
)
_DURATION_STEMS = frozenset(
    (
        "attention_pooler",
        "video_input_proj",
        "audio_input_proj",
        "video_modality_emb",
        "audio_modality_emb",
        "mlp_hidden",
        "mlp_out",
    )
)
_VOCODER_STEMS = frozenset(("conv_pre", "ups", "resblocks", "conv_post", "act_post"))
# The order matters: a multimodal file also holds names that start with the shorter ones.
_GEMMA_PREFIXES = ("language_model.model.", "model.language_model.", "model.", "")
_GEMMA_NAME = re.compile(
    r"(layers\.\d+\.|embed_tokens(_per_layer)?\.|per_layer_(model_projection|projection_norm)\.|norm\.)"
)
_GEMMA_MARKER = re.compile(r"(.*?)layers\.\d+\.self_attn\.q_proj\.weight")
_GEMMA_IGNORED = (
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "model.embed_vision.",
    "embed_vision.",
    "model.audio_tower.",
    "model.embed_audio.",
    "model.vision_embedder.",
    "vision_model.",
    "audio_projector.",
    "lm_head.",
    "language_model.lm_head.",
    "output.weight",
    "rope_freqs.weight",
    "v.",
    "mm.",
)
# A layer that the decoder for previews has in both variants; its names are numbers.
_PREVIEW_MARK = "decoder.3.conv.0.weight"
_TOKENIZER_NAMES = frozenset(("spiece_model", "tokenizer_json"))
_TOKENIZER_PREFIX = "hf_asset__"
_MARKERS = frozenset(("scaled_fp8",))
# Parts of names that only LTX-2 and its successors have.
_ONLY_LTX_2 = re.compile(
    r"^audio_|[._]audio_|^av_ca_|_a2v_ca_|\.to_gate_logits\.|\bprompt_(adaln_single|scale_shift)"
)
_OF_AUDIO_STREAM = re.compile(
    r"^av_ca_|(^|\.)(audio_|video_to_audio_attn\.|scale_shift_table_a2v_ca_)"
)
_GEMMA_WIDTH = 3840
_LTX_VIDEO_MARKER = "adaln_single.emb.timestep_embedder.linear_1.bias"


@dataclass(frozen=True, slots=True)
class _Context:
    """What all names together say about the meaning of ambiguous ones."""

    gemma_prefix: str | None
    llama_cpp: bool
    # Component to which bare encoder., decoder. and per_channel_statistics. belong.
    autoencoder: Group | None
    # The vocoder's own prefix is gone; vocoder. then names the inner generator.
    vocoder_stripped: bool
    vocoder_diffusers: bool
    # Bare encoder. and decoder. are those of the tiny autoencoder for previews.
    previews: bool = False


_NO_CONTEXT = _Context(None, False, None, vocoder_stripped=False, vocoder_diffusers=False)
# What peft and diffusers put before the path of a module.
_ADAPTER_PREFIXES = ("base_model.model.", "connectors.")


def sort_tensors(file: CheckpointFile) -> SortedTensors:
    """Sort all tensors of a file into components.

    Args:
        file: an opened model file of any layout.

    Raises:
        UnsupportedError: an LTX-Video file (from before LTX-2).
        CheckpointError: two tensors have the same canonical name.
    """
    tensors = _unwrapped(file)
    context = _look_around(tensors)
    groups: dict[Group, dict[str, TensorInfo]] = {}
    layouts: dict[Group, Layout] = {}
    ignored, unclaimed = [], []
    for name, info in tensors.items():
        claim = _classify(name, context)
        if claim is None:
            unclaimed.append(info.name)
        elif claim == "ignored":
            ignored.append(info.name)
        else:
            group, canonical, layout = claim
            members = groups.setdefault(group, {})
            if canonical in members:
                raise CheckpointError(
                    f"{file.path}: '{info.name}' and '{members[canonical].name}' both name "
                    f"'{canonical}' of the {GROUP_TITLES[group]}"
                )
            members[canonical] = unpack_pairs(name, info, tensors)
            if layouts.get(group, "official") == "official":
                layouts[group] = layout
    _refuse_ltx_video(file, groups.get("transformer", {}))
    if layouts.get("video_vae") == "diffusers":
        groups["video_vae"] = _number_vae_blocks(groups["video_vae"])
    groups = {group: restore_shapes(group, members) for group, members in groups.items()}
    return SortedTensors(groups, tuple(ignored), tuple(unclaimed), layouts)


def place_module(module: str) -> tuple[Group, str] | None:
    """Return component and canonical weight name of a module that an adapter names.

    Args:
        module: dotted path in any dialect, with or without a prefix; not the kind with underscores
            for dots.
    """
    for prefix in _ADAPTER_PREFIXES:
        module = module.removeprefix(prefix)
    claim = _classify(f"{module}.weight", _NO_CONTEXT)
    return None if claim is None or claim == "ignored" else claim[:2]


def is_of_audio_stream(name: str) -> bool:
    """Return whether a canonical name of the transformer serves its audio stream alone, or what
    passes between the streams."""
    return _OF_AUDIO_STREAM.search(name) is not None


def spell_module(group: Group, module: str) -> tuple[str, ...]:
    """Return the full paths, official and diffusers', of a module given by its canonical name."""
    if group == "transformer":
        inverse = {official: name for name, official in _DIFFUSERS_TRANSFORMER.items()}
        return module, _renamed(module, inverse)
    official = next(prefix for prefix, owner in _PREFIXES if owner == group)
    return (f"{official}{module}",)


def _unwrapped(file: CheckpointFile) -> dict[str, TensorInfo]:
    """Return all tensors by their names with the official prefixes."""
    unwrap = find_wrappers(file.tensors.keys())
    tensors: dict[str, TensorInfo] = {}
    for stored, info in file.tensors.items():
        other = tensors.setdefault(unwrap(stored), info)
        if other is not info:
            raise CheckpointError(
                f"{file.path}: '{other.name}' and '{stored}' both name '{unwrap(stored)}'"
            )
    return tensors


def _look_around(tensors: Mapping[str, TensorInfo]) -> _Context:
    names = tensors.keys()
    prefixes = {match[1] for match in map(_GEMMA_MARKER.fullmatch, names) if match is not None}
    gemma_prefix = next((prefix for prefix in _GEMMA_PREFIXES if prefix in prefixes), None)
    return _Context(
        gemma_prefix=gemma_prefix,
        llama_cpp="token_embd.weight" in names or "blk.0.attn_norm.weight" in names,
        autoencoder=_bare_autoencoder(tensors),
        vocoder_stripped=any(name.startswith("bwe_generator.") for name in names),
        vocoder_diffusers=any(".upsamplers.0." in f".{name}" for name in names)
        and any("resnets.0.convs1." in name for name in names),
        previews=_PREVIEW_MARK in names,
    )


def _bare_autoencoder(tensors: Mapping[str, TensorInfo]) -> Group | None:
    """Tell video from audio VAE: they share their outer names and spell the levels differently."""
    for name, info in tensors.items():
        if name.startswith(("encoder.", "decoder.")):
            inner = name.partition(".")[2]
            if inner.startswith(("up_blocks.", "down_blocks.", "conv_in_x_t", "mid_block.")):
                return "video_vae"
            if inner.startswith(("up.", "down.", "mid.block_")):
                return "audio_vae"
            if inner == "conv_in.conv.weight" and len(info.shape) == 5:
                return "video_vae"
    return None


def _classify(
    name: str, context: _Context
) -> tuple[Group, str, Layout] | Literal["ignored"] | None:
    if name in _MARKERS or name.rpartition(".")[2] in _MARKERS:
        return "ignored"
    if name.rpartition(".")[2] in _TOKENIZER_NAMES or name.startswith(_TOKENIZER_PREFIX):
        return "tokenizer", name, "official"
    if context.llama_cpp and (text := canonical_name(name)) is not None:
        return "text_encoder", text, "llama.cpp"
    prefix = context.gemma_prefix
    if prefix is not None or context.llama_cpp:
        if prefix is not None and name.startswith(prefix):
            inner = name[len(prefix) :]
            if _GEMMA_NAME.match(inner):
                unused = inner.endswith(".rotary_emb.inv_freq")
                return "ignored" if unused else ("text_encoder", inner, "official")
        if name.startswith(_GEMMA_IGNORED):
            return "ignored"
    for diffusion in _DIFFUSION_PREFIXES:
        if name.startswith(diffusion):
            return _component(name[len(diffusion) :], context, inside=True)
    return _component(name, context, inside=False)


def _component(
    name: str, context: _Context, *, inside: bool
) -> tuple[Group, str, Layout] | Literal["ignored"] | None:
    """Classify a name without diffusion prefix; `inside` says that it had one."""
    for prefix, group in _PREFIXES:
        if name.startswith(prefix):
            return _within(group, name[len(prefix) :])
    stem, _, rest = name.partition(".")
    if stem in _PROJECTION_STEMS:
        return _within("text_projection", name)
    if inside or stem in _TRANSFORMER_STEMS or stem in _DIFFUSERS_TRANSFORMER:
        return _within("transformer", name)
    if context.vocoder_stripped and stem in ("vocoder", "bwe_generator", "mel_stft"):
        return _vocoder(name, context)
    if stem == "vocoder":
        return _vocoder(rest, context)
    if stem in _UPSAMPLER_STEMS:
        return "upsampler", name, "official"
    if stem in _DURATION_STEMS:
        return "duration_head", name, "official"
    if context.previews and stem in ("encoder", "decoder"):
        return "ignored" if stem == "encoder" else ("preview_decoder", name, "official")
    if context.autoencoder is not None and (
        stem in ("encoder", "decoder", "per_channel_statistics") or name in _STATISTICS
    ):
        return _within(context.autoencoder, name)
    if stem in _VOCODER_STEMS or (context.vocoder_diffusers and stem in _DIFFUSERS_VOCODER):
        return _vocoder(name, context)
    return None


def _within(group: Group, name: str) -> tuple[Group, str, Layout] | Literal["ignored"]:
    """Return the claim on a tensor whose component is known and whose prefix is gone."""
    canonical = name
    if group == "transformer":
        canonical = _renamed(name, _DIFFUSERS_TRANSFORMER)
    elif group in ("video_connector", "audio_connector"):
        canonical = _renamed(name, _DIFFUSERS_CONNECTOR)
    elif group == "text_projection":
        canonical = _renamed(name, _PROJECTION_STEMS)
    elif group in ("video_vae", "audio_vae"):
        if name in _UNUSED_STATISTICS or name.startswith(_UNUSED_DECODER):
            return "ignored"
        canonical = _STATISTICS.get(name, name)
        if group == "video_vae" and (match := _DIFFUSERS_DECODER.match(name)):
            canonical = match[1] + _DIFFUSERS_DECODER_PARTS[match[2]] + name[match.end() :]
        if group == "video_vae" and _DIFFUSERS_VAE.match(name):
            return group, name, "diffusers"
    return group, canonical, "official" if canonical == name else "diffusers"


def _renamed(name: str, table: Mapping[str, str]) -> str:
    """Rename whole parts between dots; substrings would collide (adaln_single is in six names)."""
    return ".".join(table.get(part, part) for part in name.split("."))


def _vocoder(name: str, context: _Context) -> tuple[Group, str, Layout]:
    if not context.vocoder_diffusers:
        return "vocoder", name, "official"
    renamed = _renamed(name, _DIFFUSERS_VOCODER)
    return (
        "vocoder",
        renamed.replace(".downsample.filter", ".downsample.lowpass.filter"),
        "diffusers",
    )


# -- the video VAE as diffusers numbers it --------------------------------------------------------

_DIFFUSERS_VAE = re.compile(
    r"(encoder|decoder)\.(?:(mid_block)|(down_blocks|up_blocks)\.(\d{1,4}))"
    r"\.(resnets\.\d+|downsamplers\.0|upsamplers\.0)\.(.+)"
)


def _number_vae_blocks(tensors: dict[str, TensorInfo]) -> dict[str, TensorInfo]:
    """Undo diffusers' grouping: its block k holds the official blocks 2k and 2k+1 (plus one)."""
    matches = {name: _DIFFUSERS_VAE.fullmatch(name) for name in tensors}
    stages = [int(m[4]) for m in matches.values() if m and m[3] == "down_blocks"]
    last = 2 * (max(stages) + 1) if stages else 0
    renamed: dict[str, TensorInfo] = {}
    for name, info in tensors.items():
        match = matches[name]
        if match is None:
            renamed[name] = info
            continue
        half, middle, _, number, part, tail = match.groups()
        resnet = part.startswith("resnets.")
        if half == "encoder":
            index = last if middle else 2 * int(number) + (0 if resnet else 1)
            outer = "down_blocks"
        else:
            index = 0 if middle else 2 * int(number) + (2 if resnet else 1)
            outer = "up_blocks"
        inner = "res_" + part.replace("resnets", "blocks") + "." if resnet else ""
        canonical = f"{half}.{outer}.{index}.{inner}{tail}"
        if canonical in renamed:
            raise CheckpointError(f"{info.path}: two tensors name '{canonical}' of the video VAE")
        renamed[canonical] = info
    return renamed


def _refuse_ltx_video(file: CheckpointFile, transformer: Mapping[str, TensorInfo]) -> None:
    """Refuse the model before LTX-2, but not an LTX-2 whose audio stream a converter left out."""
    if _LTX_VIDEO_MARKER not in transformer or any(map(_ONLY_LTX_2.search, transformer)):
        return
    # Before LTX-2, captions came from T5, whose states are wider than those of Gemma 3.
    caption = transformer.get("caption_projection.linear_1.weight")
    if caption is None or caption.shape[-1] != _GEMMA_WIDTH:
        raise UnsupportedError(
            f"{file.path}: this is LTX-Video, the model before LTX-2 (it has no audio stream), "
            "which is not implemented"
        )
