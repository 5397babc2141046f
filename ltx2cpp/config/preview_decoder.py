"""Configuration of the decoder for previews (taeltx).

Source: tensors of the released files, which carry no metadata.
"""

from __future__ import annotations

from dataclasses import dataclass

from ltx2cpp.config.fields import Fields, Shapes, dim

# The layers that change the width: into the three levels, and out of the last one.
_WIDTHS = tuple(f"decoder.{layer}.weight" for layer in (1, 8, 14, 20))


@dataclass(frozen=True, slots=True)
class PreviewDecoderConfig:
    """Structure of the decoder.

    Attributes:
        latent_channels: of the latents it reads.
        widths: channels of its three levels, and behind them.
        group_width: in the wide variant, channels that a 3x3 convolution sees together; 0 in the
            normal one.
    """

    latent_channels: int
    widths: tuple[int, int, int, int]
    group_width: int


def read_preview_decoder_config(fields: Fields, shapes: Shapes) -> PreviewDecoderConfig:
    """Read the structure off the tensors.

    Args:
        fields: say in messages which file it is.
        shapes: names with `decoder.`.

    Raises:
        ConfigError: one of the tensors that tell it is missing.
    """

    def extent(name: str, axis: int) -> int:
        value = dim(shapes, name, axis)
        if not value:
            raise fields.error(f"the preview decoder has no '{name}'")
        return value

    first, second, third, last = (extent(name, 0) for name in _WIDTHS)
    is_wide = "decoder.3.conv.6.weight" in shapes
    return PreviewDecoderConfig(
        latent_channels=extent(_WIDTHS[0], 1),
        widths=(first, second, third, last),
        group_width=extent("decoder.3.conv.6.weight", 1) if is_wide else 0,
    )
