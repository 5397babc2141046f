"""Tensors of the decoder for previews in the released files (taeltx2, taeltx2_3, and _wide)."""

from __future__ import annotations

from ltx2cpp.config import PreviewDecoderConfig

RELEASED = PreviewDecoderConfig(latent_channels=128, widths=(256, 128, 64, 64), group_width=0)
RELEASED_WIDE = PreviewDecoderConfig(128, (1024, 512, 256, 64), 64)

# Numbers of the layers: blocks of a level, the one that makes frames, the one to the next width.
LEVELS = (((3, 4, 5), 7, 8), ((9, 10, 11), 13, 14), ((15, 16, 17), 19, 20))


def preview_shapes(config: PreviewDecoderConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the decoder's tensors."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inside: int, out: int, kernel: int = 3, bias: bool = True) -> None:
        shapes[f"decoder.{name}.weight"] = (out, inside, kernel, kernel)
        if bias:
            shapes[f"decoder.{name}.bias"] = (out,)

    conv("1", config.latent_channels, config.widths[0])
    for level, (blocks, grow, following) in enumerate(LEVELS):
        width, group = config.widths[level], config.group_width
        for block in blocks:
            conv(f"{block}.conv.0", 2 * width, width, 1 if group else 3)
            conv(f"{block}.conv.2", group or width, width)
            conv(f"{block}.conv.4", width, width, 1 if group else 3)
            if group:
                conv(f"{block}.conv.6", group, width)
        conv(f"{grow}.conv", width, 2 * width, 1, bias=False)
        conv(str(following), width, config.widths[level + 1], bias=False)
    conv("22", config.widths[-1], 3 * 4 * 4)
    return shapes
