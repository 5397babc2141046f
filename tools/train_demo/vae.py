"""The video VAE of LTX-2.3 at a small size, with the tensor names of the official files.

Equal to the reference classes; written compactly because training on a CPU needs the convolutions
of `products.py`. Activations lie channels last, (n, t, h, w, c); clips and latents at the outside
of the two halves have the usual order (n, c, t, h, w).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from train_demo.products import convolve

_PATCH = 4
_NORM_EPS = 1e-8
_STRIDES = {"compress_space": (1, 2, 2), "compress_time": (2, 1, 1), "compress_all": (2, 2, 2)}


@dataclass(frozen=True, slots=True)
class VaeConfig:
    """Sizes of the VAE; multipliers in stored order, from pixels to latent."""

    latent_channels: int = 64
    decoder_base_channels: int = 64
    encoder_multipliers: tuple[int, int, int, int] = (1, 1, 1, 1)
    decoder_multipliers: tuple[int, int, int, int] = (1, 1, 1, 2)
    encoder_layers: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)
    decoder_layers: tuple[int, int, int, int, int] = (2, 1, 1, 1, 1)

    def metadata(self) -> dict[str, object]:
        """Return the `vae` object of the checkpoint's config."""
        kinds = ("compress_space", "compress_time", "compress_all", "compress_all")
        blocks: dict[str, list[object]] = {}
        for half, multipliers, num_layers, suffix in (
            ("encoder", self.encoder_multipliers, self.encoder_layers, "_res"),
            ("decoder", self.decoder_multipliers, self.decoder_layers, ""),
        ):
            listed: list[object] = [["res_x", {"num_layers": num_layers[0]}]]
            for kind, multiplier, layers in zip(kinds, multipliers, num_layers[1:], strict=True):
                listed.append([kind + suffix, {"multiplier": multiplier}])
                listed.append(["res_x", {"num_layers": layers}])
            blocks[half] = listed
        return {
            "_class_name": "CausalVideoAutoencoder",
            "dims": 3,
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": self.latent_channels,
            "encoder_blocks": blocks["encoder"],
            "decoder_blocks": blocks["decoder"],
            "scaling_factor": 1.0,
            "norm_layer": "pixel_norm",
            "patch_size": _PATCH,
            "latent_log_var": "uniform",
            "use_quant_conv": False,
            "causal_decoder": False,
            "timestep_conditioning": False,
            "normalize_latent_channels": False,
            "encoder_base_channels": self.latent_channels,
            "decoder_base_channels": self.decoder_base_channels,
            "spatial_padding_mode": "zeros",
        }

    def as_dict(self) -> dict[str, object]:
        """Return the fields, for the recorded settings."""
        return asdict(self)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide by the root mean square over the channels."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + _NORM_EPS)


def pack(x: Tensor, strides: tuple[int, int, int]) -> Tensor:
    """Move blocks of time and space into the channels, the width offset fastest."""
    n, t, h, w, c = x.shape
    a, b, d = strides
    x = x.reshape(n, t // a, a, h // b, b, w // d, d, c).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(n, t // a, h // b, w // d, c * a * b * d)


def unpack(x: Tensor, strides: tuple[int, int, int]) -> Tensor:
    """Undo `pack`."""
    n, t, h, w, c = x.shape
    a, b, d = strides
    x = x.reshape(n, t, h, w, c // (a * b * d), a, b, d).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(n, t * a, h * b, w * d, c // (a * b * d))


def patchify(clip: Tensor) -> Tensor:
    """Fold 4x4 cells into channels, the row offset fastest: (n, 3, t, h, w) to (n, t, ..., 48)."""
    n, c, t, h, w = clip.shape
    x = clip.reshape(n, c, t, h // _PATCH, _PATCH, w // _PATCH, _PATCH)
    x = x.permute(0, 2, 3, 5, 1, 6, 4)
    return x.reshape(n, t, h // _PATCH, w // _PATCH, c * _PATCH * _PATCH)


def unpatchify(x: Tensor) -> Tensor:
    """Undo `patchify`."""
    n, t, h, w, c = x.shape
    x = x.reshape(n, t, h, w, c // _PATCH**2, _PATCH, _PATCH).permute(0, 4, 1, 2, 6, 3, 5)
    return x.reshape(n, c // _PATCH**2, t, h * _PATCH, w * _PATCH)


class _Kernel(nn.Module):
    """The tensors of a convolution under the name `conv`."""

    def __init__(self, inputs: int, outputs: int, gain: float) -> None:
        super().__init__()
        std = gain / math.sqrt(inputs * 27)
        weight = torch.randn(outputs, inputs, 3, 3, 3) * std
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last_3d))
        self.bias = nn.Parameter(torch.zeros(outputs))


class Conv(nn.Module):
    """A 3x3x3 convolution that repeats the edge frames and pads the picture with zeros.

    Attributes:
        exact: Whether to multiply in float32 instead of bf16; for all convolutions.
    """

    exact: ClassVar[bool] = False

    def __init__(self, inputs: int, outputs: int, causal: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.conv = _Kernel(inputs, outputs, gain)
        self.frames_before = 2 if causal else 1

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (n, t, h, w, c)."""
        dtype = torch.float32 if Conv.exact else torch.bfloat16
        return convolve(x, self.conv.weight, self.conv.bias, self.frames_before, dtype)


class ResBlock(nn.Module):
    """Two normalised convolutions beside a skip."""

    # The branch starts small so that a deep stack keeps the variance of its input.
    _BRANCH_GAIN = 0.4

    def __init__(self, channels: int, causal: bool) -> None:
        super().__init__()
        # SiLU of a unit normal has a second moment of 0.36.
        self.conv1 = Conv(channels, channels, causal, gain=1.0)
        self.conv2 = Conv(channels, channels, causal, gain=self._BRANCH_GAIN)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, h, w, c) to the same shape."""
        h = self.conv1(functional.silu(pixel_norm(x)))
        return x + self.conv2(functional.silu(pixel_norm(h)))


class Stage(nn.Module):
    """A chain of res blocks (`res_x`)."""

    def __init__(self, channels: int, num_layers: int, causal: bool) -> None:
        super().__init__()
        self.res_blocks = nn.ModuleList(ResBlock(channels, causal) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the chain."""
        for block in self.res_blocks:
            x = block(x)
        return x


class Downsample(nn.Module):
    """Convolution, then packing, beside packed and averaged input (`compress_*_res`)."""

    def __init__(self, inputs: int, outputs: int, strides: tuple[int, int, int]) -> None:
        super().__init__()
        self.strides = strides
        self.outputs = outputs
        self.conv = Conv(inputs, outputs // math.prod(strides), causal=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, h, w, c) to fewer frames and pixels."""
        if self.strides[0] == 2:
            if x.shape[1] == 1:
                # Two equal frames: convolve one of them, then repeat.
                conv = self.conv(x).expand(-1, 2, -1, -1, -1)
                x = x.expand(-1, 2, -1, -1, -1)
            else:
                x = torch.cat((x[:, :1], x), dim=1)
                conv = self.conv(x)
        else:
            conv = self.conv(x)
        skip = pack(x, self.strides)
        n, t, h, w, c = skip.shape
        skip = skip.reshape(n, t, h, w, self.outputs, c // self.outputs).mean(dim=-1)
        return pack(conv, self.strides) + skip


class Upsample(nn.Module):
    """Convolution, then unpacking; the first of doubled frames is dropped (`compress_*`)."""

    def __init__(self, inputs: int, outputs: int, strides: tuple[int, int, int]) -> None:
        super().__init__()
        self.strides = strides
        self.conv = Conv(inputs, outputs * math.prod(strides), causal=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, h, w, c) to more frames and pixels."""
        x = unpack(self.conv(x), self.strides)
        return x[:, 1:] if self.strides[0] == 2 else x


class Encoder(nn.Module):
    """Pixels to latents, before the per-channel normalisation."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        width = config.latent_channels
        self.latent_channels = config.latent_channels
        self.conv_in = Conv(3 * _PATCH**2, width, causal=True)
        blocks: list[nn.Module] = [Stage(width, config.encoder_layers[0], causal=True)]
        kinds = ("compress_space", "compress_time", "compress_all", "compress_all")
        for kind, multiplier, layers in zip(
            kinds, config.encoder_multipliers, config.encoder_layers[1:], strict=True
        ):
            blocks.append(Downsample(width, width * multiplier, _STRIDES[kind]))
            width *= multiplier
            blocks.append(Stage(width, layers, causal=True))
        self.down_blocks = nn.ModuleList(blocks)
        self.conv_out = Conv(width, config.latent_channels + 1, causal=True)

    def forward(self, clip: Tensor) -> Tensor:
        """Encode (n, 3, 8k + 1, h, w) in [-1, 1] to (n, c, k + 1, h / 32, w / 32)."""
        x = self.conv_in(patchify(clip))
        for block in self.down_blocks:
            x = block(x)
        # The last channel is a log-variance that nothing uses.
        latent = self.conv_out(functional.silu(pixel_norm(x)))[..., : self.latent_channels]
        return latent.permute(0, 4, 1, 2, 3)


class Decoder(nn.Module):
    """Latents, after undoing the per-channel normalisation, to pixels."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        width = config.decoder_base_channels * math.prod(config.decoder_multipliers)
        self.conv_in = Conv(config.latent_channels, width, causal=False)
        blocks: list[nn.Module] = [Stage(width, config.decoder_layers[-1], causal=False)]
        kinds = ("compress_space", "compress_time", "compress_all", "compress_all")
        for kind, multiplier, layers in zip(
            reversed(kinds),
            reversed(config.decoder_multipliers),
            reversed(config.decoder_layers[:-1]),
            strict=True,
        ):
            blocks.append(Upsample(width, width // multiplier, _STRIDES[kind]))
            width //= multiplier
            blocks.append(Stage(width, layers, causal=False))
        self.up_blocks = nn.ModuleList(blocks)
        self.conv_out = Conv(width, 3 * _PATCH**2, causal=False)

    def forward(self, latent: Tensor) -> Tensor:
        """Decode (n, c, k + 1, h, w) to (n, 3, 8k + 1, 32 h, 32 w), about [-1, 1]."""
        x = self.conv_in(latent.permute(0, 2, 3, 4, 1))
        for block in self.up_blocks:
            x = block(x)
        return unpatchify(self.conv_out(functional.silu(pixel_norm(x))))


class Vae(nn.Module):
    """Both halves; the statistics are measured after training."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
