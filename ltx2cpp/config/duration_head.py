"""Configuration of the duration head of LTX-2.5.

Source: tensors of the released file; ltx-core 1.2.0 for the number of heads.
"""

from __future__ import annotations

from dataclasses import dataclass

from ltx2cpp.config.fields import Fields, Shapes, dim

_HEADS = 4


@dataclass(frozen=True, slots=True)
class DurationHeadConfig:
    """Structure of the head.

    Attributes:
        video_width, audio_width: of the contexts it reads.
        width: of its tokens, divided among the heads.
        num_queries, num_heads: of its only attention.
        hidden_width: between its last two layers.
    """

    video_width: int
    audio_width: int
    width: int
    num_queries: int
    num_heads: int
    hidden_width: int


def read_duration_head_config(fields: Fields, shapes: Shapes) -> DurationHeadConfig:
    """Combine tensor shapes and metadata.

    Args:
        fields: `config.duration_head`; empty when the file has none.
        shapes: names without `duration_head.`.

    Raises:
        ConfigError: a number of heads that does not divide the width, or tensors that are missing.
    """

    def extent(name: str, axis: int) -> int:
        value = dim(shapes, name, axis)
        if not value:
            raise fields.error(f"the duration head has no '{name}'")
        return value

    width = extent("attention_pooler.query_tokens", 1)
    heads = fields.integer("num_pooler_heads", _HEADS)
    if width % heads:
        raise fields.error(f"{heads} heads do not divide the duration head's width of {width}")
    return DurationHeadConfig(
        video_width=extent("video_input_proj.weight", 1),
        audio_width=extent("audio_input_proj.weight", 1),
        width=width,
        num_queries=extent("attention_pooler.query_tokens", 0),
        num_heads=heads,
        hidden_width=extent("mlp_hidden.weight", 0),
    )
