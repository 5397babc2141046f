"""Configuration of the audio-video transformer, the text connectors and the text projection.

Source: metadata `config.transformer` of the released files. Where metadata is missing, values that
shapes do not show are those of the released models, never the defaults of the reference's classes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, cast

from ltx2cpp.config.fields import MAX_LAYERS, Fields, Shapes, count_blocks, dim
from ltx2cpp.errors import ConfigError, UnsupportedError

logger = logging.getLogger("ltx2cpp")

RopeType = Literal["split", "interleaved"]


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """Structure of the transformer; widths are `heads * head_dim`.

    Attributes:
        audio_stream: False where a file holds the video stream alone; the values of the other
            stream are 0 or False then.
    """

    num_layers: int
    num_heads: int
    head_dim: int
    in_channels: int
    out_channels: int
    cross_attention_dim: int
    audio_stream: bool
    audio_num_heads: int
    audio_head_dim: int
    audio_in_channels: int
    audio_out_channels: int
    audio_cross_attention_dim: int
    gated_attention: bool
    cross_attention_adaln: bool
    prompt_adaln: bool
    caption_projection: bool
    caption_channels: int
    ff_bias: bool
    audio_ff_bias: bool
    keyframes_embedding: bool
    norm_eps: float
    rope_type: RopeType
    rope_double: bool
    rope_theta: float
    max_pos: tuple[int, int, int]
    audio_max_pos: int
    timestep_scale: float
    av_gate_timestep_scale: float

    @property
    def context_widths(self) -> dict[str, int]:
        """Columns of the context that each stream takes; 0 for a stream that is not there."""
        if self.caption_projection:
            # 2.0 projects the connectors' output inside the transformer.
            return {
                "video": self.caption_channels,
                "audio": self.caption_channels if self.audio_stream else 0,
            }
        return {"video": self.cross_attention_dim, "audio": self.audio_cross_attention_dim}


@dataclass(frozen=True, slots=True)
class ConnectorConfig:
    """Structure of one embeddings connector; its width is `num_heads * head_dim`."""

    num_heads: int
    head_dim: int
    num_layers: int
    num_registers: int
    gated_attention: bool
    ff_bias: bool
    rope_type: RopeType
    rope_double: bool
    rope_theta: float
    max_pos: int
    norm_eps: float


@dataclass(frozen=True, slots=True)
class TextProjectionConfig:
    """Projection of all hidden states: "v1" of LTX-2 (shared), "v2" from LTX-2.3 on (two).

    `audio_width` is 0 where a file for silent clips lacks the second one.
    """

    variant: Literal["v1", "v2"]
    hidden_size: int
    num_states: int
    video_width: int
    audio_width: int


# What the code implements; anything else in these keys is refused by name.
_REQUIRED: dict[str, object] = {
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "norm_elementwise_affine": False,
    "standardization_norm": "rms_norm",
    "qk_norm": "rms_norm",
    "cross_attention_norm": True,
    "av_cross_ada_norm": True,
    "use_audio_video_cross_attention": True,
    "share_ff": False,
    "dropout": 0.0,
    "double_self_attention": False,
    "only_cross_attention": False,
    "upcast_attention": False,
    "num_embeds_ada_norm": 1000,
    "positional_embedding_type": "rope",
    "use_middle_indices_grid": True,
}

# What each stream begins with; a file for silent clips lacks the second.
VIDEO_INPUT, AUDIO_INPUT = "patchify_proj.weight", "audio_patchify_proj.weight"

# The released values of keys that shapes cannot show.
_THETA = 10000.0
_MAX_POS = (20, 2048, 2048)
_AUDIO_MAX_POS = (20,)
_CONNECTOR_MAX_POS = (4096,)
_NORM_EPS = 1e-6
_TIMESTEP_SCALE = 1000.0

# The four keys tell the two projection layouts apart, all absent or exactly these.
_PROJECTION_V2 = {
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "caption_proj_input_norm": False,
    "caption_projection_second_linear": False,
}


def read_transformer_config(fields: Fields, shapes: Shapes) -> TransformerConfig:
    """Combine metadata and tensor shapes.

    Args:
        fields: `config.transformer`; empty when the file has none.
        shapes: canonical tensor names without component prefix, and their shapes.

    Raises:
        ConfigError: a value is out of range, or heads and widths do not fit.
        UnsupportedError: a key has a value that is not implemented.
    """
    fields.require(_REQUIRED)
    block = "transformer_blocks.0."
    layers = count_blocks(shapes, "transformer_blocks.")
    if not 1 <= layers <= MAX_LAYERS:
        raise fields.error(f"the tensors have {layers} transformer blocks; 1 to {MAX_LAYERS} fit")
    configured_layers = fields.integer("num_layers", 48, high=MAX_LAYERS)
    gate_rows = dim(shapes, block + "attn1.to_gate_logits.weight", 0)
    width = dim(shapes, "patchify_proj.weight", 0)
    num_heads, head_dim = _heads(fields, "", width, gate_rows, 32, 128)
    audio = _AudioStream.read(fields, shapes, num_heads)
    released = not fields
    rope = _Rope.read(fields)
    caption = dim(shapes, "caption_projection.linear_1.weight", 1)
    adaln = f"{block}prompt_scale_shift_table" in shapes
    max_pos = fields.integers("positional_embedding_max_pos", _MAX_POS, length=3)
    return TransformerConfig(
        num_layers=fields.agree("num_layers", configured_layers, layers),
        num_heads=num_heads,
        head_dim=head_dim,
        in_channels=_extent(fields, "in_channels", 128, dim(shapes, "patchify_proj.weight", 1)),
        out_channels=_extent(fields, "out_channels", 128, dim(shapes, "proj_out.weight", 0)),
        cross_attention_dim=_extent(
            fields, "cross_attention_dim", 4096, dim(shapes, block + "attn2.to_k.weight", 1)
        ),
        audio_stream=audio.num_heads > 0,
        audio_num_heads=audio.num_heads,
        audio_head_dim=audio.head_dim,
        audio_in_channels=audio.in_channels,
        audio_out_channels=audio.out_channels,
        audio_cross_attention_dim=audio.cross_attention_dim,
        gated_attention=_flag(fields, "apply_gated_attention", False, gate_rows is not None),
        cross_attention_adaln=_flag(fields, "cross_attention_adaln", False, adaln),
        prompt_adaln=_flag(
            fields, "use_prompt_adaln_single", True, "prompt_adaln_single.linear.weight" in shapes
        ),
        caption_projection=not _flag(
            fields, "caption_proj_before_connector", False, caption is None
        ),
        caption_channels=caption or fields.integer("caption_channels", 0),
        ff_bias=_flag(fields, "ff_bias", True, block + "ff.net.0.proj.bias" in shapes),
        audio_ff_bias=audio.ff_bias,
        keyframes_embedding=_flag(
            fields,
            "use_keyframes_abs_pos_embedding",
            False,
            "keyframes_abs_pos_embedding" in shapes,
        ),
        norm_eps=fields.number("norm_eps", _NORM_EPS, high=0.1),
        rope_type=rope.kind,
        rope_double=rope.double,
        rope_theta=rope.theta,
        max_pos=cast("tuple[int, int, int]", max_pos),
        audio_max_pos=audio.max_pos,
        timestep_scale=fields.number("timestep_scale_multiplier", _TIMESTEP_SCALE, high=1e6),
        # The reference's default of 1 holds for a file that has metadata but not this key.
        av_gate_timestep_scale=fields.number(
            "av_ca_timestep_scale_multiplier", _TIMESTEP_SCALE if released else 1.0, high=1e6
        ),
    )


def _flag(fields: Fields, key: str, default: bool, found: bool) -> bool:
    """Return a flag that the tensors show as well."""
    return fields.agree(key, fields.flag(key, default), found)


def read_connector_config(
    fields: Fields, shapes: Shapes, modality: Literal["video", "audio"]
) -> ConnectorConfig:
    """Combine metadata and tensor shapes of one connector; see `read_transformer_config`.

    Audio keys fall back to the video keys, as in the reference.
    """
    name = f"the {modality} connector"
    registers = shapes.get("learnable_registers")
    if registers is None or len(registers) != 2:
        raise fields.error(f"{name} has no learnable_registers of two dimensions")
    num_registers, width = registers
    layers = count_blocks(shapes, "transformer_1d_blocks.")
    if not 1 <= layers <= MAX_LAYERS:
        raise fields.error(f"{name} has {layers} blocks; 1 to {MAX_LAYERS} fit")
    block = "transformer_1d_blocks.0."
    gate_rows = dim(shapes, block + "attn1.to_gate_logits.weight", 0)

    def key(suffix: str) -> str:
        audio_key = f"audio_connector_{suffix}"
        return audio_key if modality == "audio" and audio_key in fields else f"connector_{suffix}"

    head_dim = fields.integer(key("attention_head_dim"), 0)
    num_heads = gate_rows or fields.integer(key("num_attention_heads"), 0)
    if not num_heads:
        # 128 is the head dimension of every released connector without gates.
        num_heads = width // (head_dim or 128)
    if not num_heads or width % num_heads or (width // num_heads) % 2:
        raise fields.error(f"{name} is {width} wide, which does not split into {num_heads} heads")
    if head_dim:
        fields.agree(key("attention_head_dim"), head_dim, width // num_heads)
    rope = _Rope.read(fields)
    return ConnectorConfig(
        num_heads=num_heads,
        head_dim=width // num_heads,
        num_layers=fields.agree(
            key("num_layers"), fields.integer(key("num_layers"), layers, high=MAX_LAYERS), layers
        ),
        num_registers=fields.agree(
            "connector_num_learnable_registers",
            fields.integer("connector_num_learnable_registers", num_registers),
            num_registers,
        ),
        gated_attention=_flag(
            fields, "connector_apply_gated_attention", False, gate_rows is not None
        ),
        ff_bias=_flag(fields, "connector_ff_bias", True, block + "ff.net.0.proj.bias" in shapes),
        rope_type=rope.kind,
        rope_double=rope.double,
        rope_theta=rope.theta,
        max_pos=fields.integers(
            "connector_positional_embedding_max_pos", _CONNECTOR_MAX_POS, length=1
        )[0],
        norm_eps=fields.number("norm_eps", _NORM_EPS, high=0.1),
    )


def read_text_projection_config(
    fields: Fields, shapes: Shapes, hidden_size: int | None
) -> TextProjectionConfig:
    """Tell the layout of the text projection and split its columns into states.

    Args:
        fields: `config.transformer`; empty when the file has none.
        shapes: names such as `video_aggregate_embed.weight`.
        hidden_size: width of the text encoder when it is known.

    Raises:
        ConfigError: columns are no multiple of the hidden size, or tensors are missing.
        UnsupportedError: the metadata describes another layout.
    """
    v2 = "video_aggregate_embed.weight" in shapes
    values = {key: fields.raw(key) for key in _PROJECTION_V2 if key in fields}
    if values and values != _PROJECTION_V2:
        raise UnsupportedError(
            f"{fields.where}: the text projection described by {values} is not implemented"
        )
    if bool(values) is not v2 and fields:
        logger.warning(
            "%s: metadata and tensors disagree on the text projection; using the tensors",
            fields.where,
        )
    video = "video_aggregate_embed.weight" if v2 else "aggregate_embed.weight"
    audio = "audio_aggregate_embed.weight" if v2 else video
    for name in (video, audio):
        if len(shapes.get(name, ())) != 2 and (name == video or name in shapes):
            raise fields.error(f"the text projection has no matrix '{name}'")
    video_width, columns = shapes[video]
    audio_width, audio_columns = shapes.get(audio, (0, columns))
    hidden = hidden_size or fields.integer("caption_channels", 3840)
    if columns != audio_columns or columns % hidden or columns // hidden < 2:
        raise ConfigError(
            f"{fields.where}: the text projection takes {columns} values per token, which is no "
            f"whole number of states of a text encoder {hidden} wide; is it the encoder that this "
            "model was made for?"
        )
    return TextProjectionConfig(
        variant="v2" if v2 else "v1",
        hidden_size=hidden,
        num_states=columns // hidden,
        video_width=video_width,
        audio_width=audio_width,
    )


@dataclass(frozen=True, slots=True)
class _AudioStream:
    num_heads: int = 0
    head_dim: int = 0
    in_channels: int = 0
    out_channels: int = 0
    cross_attention_dim: int = 0
    ff_bias: bool = False
    max_pos: int = 0

    @classmethod
    def read(cls, fields: Fields, shapes: Shapes, video_heads: int) -> _AudioStream:
        if AUDIO_INPUT not in shapes:
            return cls()
        block = "transformer_blocks.0.audio_"
        width, channels = dim(shapes, AUDIO_INPUT, 0), dim(shapes, AUDIO_INPUT, 1)
        gate_rows = dim(shapes, f"{block}attn1.to_gate_logits.weight", 0)
        num_heads, head_dim = _heads(fields, "audio_", width, gate_rows, 32, 64)
        if num_heads != video_heads:
            raise fields.error(
                f"num_attention_heads is {video_heads} and audio_num_attention_heads {num_heads}; "
                "they have to be equal"
            )
        context = dim(shapes, f"{block}attn2.to_k.weight", 1)
        (max_pos,) = fields.integers("audio_positional_embedding_max_pos", _AUDIO_MAX_POS, length=1)
        return cls(
            num_heads=num_heads,
            head_dim=head_dim,
            in_channels=_extent(fields, "audio_in_channels", 128, channels),
            out_channels=_extent(
                fields, "audio_out_channels", 128, dim(shapes, "audio_proj_out.weight", 0)
            ),
            cross_attention_dim=_extent(fields, "audio_cross_attention_dim", 2048, context),
            ff_bias=_flag(fields, "audio_ff_bias", True, f"{block}ff.net.0.proj.bias" in shapes),
            max_pos=max_pos,
        )


@dataclass(frozen=True, slots=True)
class _Rope:
    kind: RopeType
    double: bool
    theta: float

    @classmethod
    def read(cls, fields: Fields) -> _Rope:
        kind = fields.choice("rope_type", "split", ("split", "interleaved"))
        released = not fields
        precision = fields.choice(
            "frequencies_precision",
            "float64" if released else "float32",
            ("float64", "float32"),
        )
        theta = fields.number("positional_embedding_theta", _THETA, low=1.0, high=1e9)
        return cls(cast("RopeType", kind), precision == "float64", theta)


def _heads(
    fields: Fields, prefix: str, width: int | None, gate_rows: int | None, heads: int, size: int
) -> tuple[int, int]:
    """Return heads and head dimension, whose product is the width that the tensors have."""
    heads_key, size_key = f"{prefix}num_attention_heads", f"{prefix}attention_head_dim"
    configured = fields.integer(heads_key, gate_rows or heads, high=4096)
    num_heads = fields.agree(heads_key, configured, gate_rows)
    head_dim = fields.integer(size_key, 0, high=4096)
    if not head_dim:
        head_dim = width // num_heads if width else size
    if width is not None and num_heads * head_dim != width:
        raise fields.error(
            f"{heads_key} {num_heads} times {size_key} {head_dim} is not the width {width} "
            "of the tensors"
        )
    if head_dim % 2:
        raise fields.error(f"{size_key} is {head_dim}; rotary embedding needs an even number")
    return num_heads, head_dim


def _extent(fields: Fields, key: str, default: int, tensor_value: int | None) -> int:
    return fields.agree(key, fields.integer(key, default), tensor_value)
