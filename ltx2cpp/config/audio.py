"""Configuration of the audio VAE, the vocoder and its bandwidth extension.

Source: metadata `config.audio_vae` and `config.vocoder` of the released files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ltx2cpp.config.fields import MAX_LAYERS, Fields, Shapes, count_blocks, dim
from ltx2cpp.errors import UnsupportedError

Activation = Literal["leaky_relu", "snakebeta"]
FinalActivation = Literal["tanh", "clamp", "none"]


@dataclass(frozen=True, slots=True)
class AudioVaeConfig:
    """Structure of the audio VAE and of the spectrogram in front of it.

    Attributes:
        latent_channels: channels of the latent (8 in released files).
        latent_bins: frequency bins of the latent (16 in released files).
        channel_multipliers: width of each level in units of `base_channels`, finest first.
        num_res_blocks: residual blocks per encoder level; decoder levels have one more.
        f_min_hz: lower edge of the mel filters.
        f_max_hz: upper edge of the mel filters.
    """

    in_channels: int
    out_channels: int
    latent_channels: int
    latent_bins: int
    base_channels: int
    channel_multipliers: tuple[int, ...]
    num_res_blocks: int
    mel_bins: int
    sample_rate_hz: int
    filter_length: int
    hop_length: int
    win_length: int
    f_min_hz: float
    f_max_hz: float

    def mel_frames(self, latent_frames: int) -> int:
        """Return the mel steps of a latent; each level but the finest doubles them less one."""
        factor = 1 << (len(self.channel_multipliers) - 1)
        return factor * (latent_frames - 1) + 1


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Structure of one waveform generator."""

    in_channels: int
    out_channels: int
    upsample_initial_channel: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    activation: Activation
    final_bias: bool
    final_activation: FinalActivation


@dataclass(frozen=True, slots=True)
class VocoderConfig:
    """A generator, and from LTX-2.3 on the bandwidth extension behind it.

    Attributes:
        bwe: generator of the extension; None for LTX-2.
        base_sample_rate_hz: rate of `generator`'s output.
        sample_rate_hz: rate of the final wave.
        bwe_hop_length: hop of the spectrogram between the two generators, in samples; this and the
            other values of that spectrogram are 0 without `bwe`.
        bwe_n_fft: length of its transform, in samples.
        bwe_win_length: length of its window, in samples.
        bwe_mel_bins: its mel bins.
    """

    generator: GeneratorConfig
    bwe: GeneratorConfig | None
    base_sample_rate_hz: int
    sample_rate_hz: int
    bwe_hop_length: int
    bwe_n_fft: int
    bwe_win_length: int
    bwe_mel_bins: int


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """What the files say about sound; a part they lack is None."""

    vae: AudioVaeConfig | None
    vocoder: VocoderConfig | None


_DDCONFIG_REQUIRED: dict[str, object] = {
    "double_z": True,
    "mid_block_add_attention": False,
    "norm_type": "pixel",
    "causality_axis": "height",
    "dropout": 0.0,
}
_DILATIONS = (1, 3, 5)
_KERNELS = (3, 7, 11)
# Of a generator's first and last convolution.
_OUTER_KERNEL = 7

# (initial channels, rates, kernel sizes) of the released generators, used without metadata.
_LTX_2 = (1024, (6, 5, 2, 2, 2), (16, 15, 8, 4, 4))
_LTX_2_3 = (1536, (5, 2, 2, 2, 2, 2), (11, 4, 4, 4, 4, 4))
_LTX_2_3_BWE = (512, (6, 5, 2, 2, 2), (12, 11, 4, 4, 4))


def read_audio_vae_config(fields: Fields, decoder: Shapes, encoder: Shapes) -> AudioVaeConfig:
    """Combine metadata (`config.audio_vae`) and tensor shapes.

    Args:
        fields: empty when the file has none.
        decoder: names without `decoder.`, with `per_channel_statistics.`; may be empty.
        encoder: names without `encoder.`, likewise.

    Raises:
        ConfigError: out of range or contradictory.
        UnsupportedError: a feature that no released file has, such as attention.
    """
    parameters = fields.nested("model").nested("params")
    dd = parameters.nested("ddconfig")
    dd.require(_DDCONFIG_REQUIRED)
    if dd.integers("attn_resolutions", (), longest=16):
        raise UnsupportedError(f"{dd.where}: attn_resolutions is set, which is not implemented")
    if any(".attn" in name for name in (*decoder, *encoder)):
        raise UnsupportedError(f"{fields.where}: attention in the audio VAE is not implemented")
    preprocessing = fields.nested("preprocessing")
    stft, mel = preprocessing.nested("stft"), preprocessing.nested("mel")
    multipliers = dd.integers("ch_mult", (1, 2, 4), high=64, longest=8)
    if not multipliers:
        raise dd.error("ch_mult is empty")
    base = dim(encoder, "conv_in.conv.weight", 0)
    if base is None and (top := dim(decoder, "conv_out.conv.weight", 1)) is not None:
        base = top // multipliers[0]
    latent = dim(decoder, "conv_in.conv.weight", 1)
    if latent is None and (rows := dim(encoder, "conv_out.conv.weight", 0)) is not None:
        latent = rows // 2
    blocks = count_blocks(encoder, "down.0.block.")
    if not blocks and decoder:
        blocks = count_blocks(decoder, "up.0.block.") - 1
    latent_channels = dd.agree("z_channels", dd.integer("z_channels", 8), latent)
    mel_bins = dd.integer("mel_bins", 64, high=4096)
    bins = mel_bins >> (len(multipliers) - 1)
    statistics = dim(decoder or encoder, "per_channel_statistics.mean-of-means", 0)
    if statistics is not None and statistics != latent_channels * bins:
        raise fields.error(
            f"{statistics} statistics do not fit {latent_channels} channels of {bins} bins"
        )
    if not 1 <= blocks <= MAX_LAYERS:
        blocks = dd.integer("num_res_blocks", 2, high=MAX_LAYERS)
    return AudioVaeConfig(
        in_channels=dd.integer("in_channels", 2, high=64),
        out_channels=dd.integer("out_ch", 2, high=64),
        latent_channels=latent_channels,
        latent_bins=bins,
        base_channels=dd.agree("ch", dd.integer("ch", 128), base),
        channel_multipliers=multipliers,
        num_res_blocks=dd.agree(
            "num_res_blocks", dd.integer("num_res_blocks", 2, high=MAX_LAYERS), blocks
        ),
        mel_bins=mel_bins,
        sample_rate_hz=parameters.integer("sampling_rate", 16000),
        filter_length=stft.integer("filter_length", 1024),
        hop_length=stft.integer("hop_length", 160),
        win_length=stft.integer("win_length", 1024),
        f_min_hz=mel.number("mel_fmin", 0.0, open_low=False),
        f_max_hz=mel.number("mel_fmax", 8000.0),
    )


def read_vocoder_config(fields: Fields, shapes: Shapes) -> VocoderConfig:
    """Combine metadata (`config.vocoder`) and tensor shapes.

    Args:
        fields: empty when the file has none; flat for LTX-2, two nested objects from LTX-2.3 on.
        shapes: names with the component prefix `vocoder.` stripped once.
    """
    extended = any(name.startswith("bwe_generator.") for name in shapes)
    if not extended:
        base = fields.nested("vocoder") if "vocoder" in fields else fields
        generator = _generator(base, _part(shapes, ""), _LTX_2, final="tanh")
        rate = base.integer("output_sampling_rate", 24000)
        return VocoderConfig(generator, None, rate, rate, 0, 0, 0, 0)
    main = fields.nested("vocoder")
    bwe = fields.nested("bwe")
    n_fft = _transform_length(shapes)
    mel_values = math.prod(shapes.get("mel_stft.mel_basis", ()))
    mel_bins = mel_values // (n_fft // 2 + 1) if n_fft else None
    base_rate = bwe.integer("input_sampling_rate", 16000)
    rate = bwe.integer("output_sampling_rate", 48000)
    if rate % base_rate:
        raise bwe.error(f"output_sampling_rate {rate} is no multiple of {base_rate}")
    return VocoderConfig(
        generator=_generator(main, _part(shapes, "vocoder."), _LTX_2_3, final="clamp"),
        bwe=_generator(bwe, _part(shapes, "bwe_generator."), _LTX_2_3_BWE, final="none"),
        base_sample_rate_hz=base_rate,
        sample_rate_hz=rate,
        bwe_hop_length=bwe.integer("hop_length", 80),
        bwe_n_fft=bwe.agree("n_fft", bwe.integer("n_fft", 512), n_fft),
        bwe_win_length=bwe.integer("win_size", n_fft or 512),
        bwe_mel_bins=bwe.agree("num_mels", bwe.integer("num_mels", 64), mel_bins),
    )


def _part(shapes: Shapes, prefix: str) -> Mapping[str, tuple[int, ...]]:
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def _generator(
    fields: Fields,
    shapes: Shapes,
    released: tuple[int, tuple[int, ...], tuple[int, ...]],
    *,
    final: FinalActivation,
) -> GeneratorConfig:
    initial, rates, kernels = released
    snake = "act_post.act.alpha" in shapes
    block = fields.choice("resblock", "AMP1" if snake else "1", ("1", "AMP1"))
    if (block == "AMP1") is not snake:
        raise fields.error(f"resblock is {block}, which does not fit the tensors")
    if snake:
        fields.choice("activation", "snakebeta", ("snakebeta",))
    rates = fields.integers("upsample_rates", rates, high=64, longest=16)
    kernels = fields.integers("upsample_kernel_sizes", kernels, high=256, longest=16)
    stages = count_blocks(shapes, "ups.")
    if len(rates) != len(kernels) or len(rates) != stages:
        raise fields.error(
            f"upsample_rates ({len(rates)}), upsample_kernel_sizes ({len(kernels)}) and the "
            f"tensors ({stages} stages) do not fit"
        )
    for rate, kernel in zip(rates, kernels, strict=True):
        if kernel < rate or (kernel - rate) % 2:
            raise fields.error(f"an upsampling kernel of {kernel} does not fit the rate {rate}")
    channels = dim(shapes, "conv_pre.weight", 0)
    initial = fields.agree(
        "upsample_initial_channel", fields.integer("upsample_initial_channel", initial), channels
    )
    if initial % (1 << stages):
        raise fields.error(f"{initial} channels cannot be halved {stages} times")
    if snake and fields:
        final = _final_activation(fields)
    sizes = fields.integers("resblock_kernel_sizes", _KERNELS, high=255, longest=8)
    return GeneratorConfig(
        in_channels=dim(shapes, "conv_pre.weight", 1) or 128,
        out_channels=_per_channel(shapes, "conv_post.weight", initial >> stages) or 2,
        upsample_initial_channel=initial,
        upsample_rates=rates,
        upsample_kernel_sizes=kernels,
        resblock_kernel_sizes=sizes,
        resblock_dilation_sizes=_dilations(fields, len(sizes)),
        activation="snakebeta" if snake else "leaky_relu",
        final_bias=fields.agree(
            "use_bias_at_final",
            fields.flag("use_bias_at_final", True),
            "conv_post.bias" in shapes,
        ),
        final_activation=final,
    )


def _per_channel(shapes: Shapes, name: str, inputs: int) -> int:
    """Return the outputs of a kernel by its number of values; 0 where there is none."""
    return math.prod(shapes[name]) // (inputs * _OUTER_KERNEL) if name in shapes else 0


def _transform_length(shapes: Shapes) -> int | None:
    """Return the length n of a short-time transform, whose basis has n + 2 rows of n values."""
    basis = shapes.get("mel_stft.stft_fn.forward_basis")
    return None if basis is None else (math.isqrt(math.prod(basis) + 1) - 1) or None


def _final_activation(fields: Fields) -> FinalActivation:
    if not fields.flag("apply_final_activation", True):
        return "none"
    return "tanh" if fields.flag("use_tanh_at_final", True) else "clamp"


def _dilations(fields: Fields, count: int) -> tuple[tuple[int, ...], ...]:
    sizes: Any = fields.raw("resblock_dilation_sizes")
    if sizes is None:
        return (_DILATIONS,) * count
    if not isinstance(sizes, list) or len(sizes) != count:
        raise fields.error(f"resblock_dilation_sizes has to list {count} lists")
    entries = Fields(
        {f"resblock_dilation_sizes[{i}]": row for i, row in enumerate(sizes)}, fields.where
    )
    rows = tuple(entries.integers(key, (), high=64, length=3) for key in entries)
    if not all(rows):
        raise fields.error("resblock_dilation_sizes has an empty entry")
    return rows
