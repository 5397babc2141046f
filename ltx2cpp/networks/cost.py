"""Arithmetic of the networks from their configurations: floating point operations of one call.

A multiply-add counts as two. Counted are products, attention and convolutions, which are all but a
few thousandths of the work; norms, activations and filters of a dozen taps are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ltx2cpp.config import (
    AudioVaeConfig,
    ConnectorConfig,
    DecoderStage,
    DiffusionDecoderConfig,
    Gemma4Config,
    GemmaConfig,
    GeneratorConfig,
    TextProjectionConfig,
    TransformerConfig,
    VaeBlock,
    VideoVaeConfig,
    VocoderConfig,
)

# (time, height, width) by which a resampler of the video VAE enlarges.
_FACTORS = {"space": (1, 2, 2), "time": (2, 1, 1), "all": (2, 2, 2)}
_FEED_FORWARD = 4
_VAE_KERNEL = 27
_AUDIO_KERNEL = 9
_GENERATOR_KERNEL = 7
_LEVEL_FACTOR = 2


def transformer_flop(
    config: TransformerConfig, video_tokens: int, audio_tokens: int, text_rows: int
) -> float:
    """Return the operations of one velocity; a stream of 0 tokens is left out.

    Modulation is not counted: it runs once per distinct noise level.
    """
    streams = (
        (video_tokens, config.num_heads, config.head_dim, config.in_channels + config.out_channels),
        (
            audio_tokens,
            config.audio_num_heads,
            config.audio_head_dim,
            config.audio_in_channels + config.audio_out_channels,
        ),
    )
    total = 0.0
    for tokens, heads, head_dim, channels in streams:
        if tokens == 0:
            continue
        width = heads * head_dim
        block = _attention(tokens, tokens, width, width, width)
        block += _attention(tokens, text_rows, width, width, width)
        block += _product(tokens, width, 2 * _FEED_FORWARD * width)
        if config.gated_attention:
            block += 2 * _product(tokens, width, heads)
        total += config.num_layers * block + _product(tokens, width, channels)
        if config.caption_projection:
            total += _product(text_rows, width, config.caption_channels + width)
    if video_tokens and audio_tokens:
        video, audio = (heads * head_dim for _, heads, head_dim, _ in streams)
        cross = _attention(video_tokens, audio_tokens, video, audio, audio)
        cross += _attention(audio_tokens, video_tokens, audio, video, audio)
        if config.gated_attention:
            cross += _product(video_tokens, video, config.audio_num_heads)
            cross += _product(audio_tokens, audio, config.audio_num_heads)
        total += config.num_layers * cross
    return total


def transformer_attention_flop(
    config: TransformerConfig, video_tokens: int, audio_tokens: int, text_rows: int
) -> float:
    """Return the share of `transformer_flop` that lies between queries, keys and values."""
    video = config.num_heads * config.head_dim
    audio = config.audio_num_heads * config.audio_head_dim
    pairs = video_tokens * (video_tokens + text_rows) * video
    pairs += audio_tokens * (audio_tokens + text_rows + 2 * video_tokens) * audio
    return 4.0 * config.num_layers * pairs


def gemma_flop(config: GemmaConfig | Gemma4Config, tokens: int) -> float:
    """Return the operations of all layers over a prompt; every score counts, masked ones too."""
    if isinstance(config, GemmaConfig):
        return config.num_layers * _gemma_layer_flop(
            config, tokens, config.head_dim, 2 * config.num_kv_heads, config.intermediate_size
        )
    own = config.num_layers * config.per_layer_width
    total = _product(tokens, config.hidden_size, 3 * own)
    for layer, is_global in enumerate(config.global_layers):
        heads = config.global_heads if is_global else config.local_heads
        if layer < config.num_layers - config.shared_layers:
            key_heads = heads.num_kv_heads * (1 if heads.shares_keys else 2)
            intermediate = config.intermediate_size
        else:
            key_heads, intermediate = 0, config.shared_intermediate_size
        total += _gemma_layer_flop(config, tokens, heads.head_dim, key_heads, intermediate)
    return total


def _gemma_layer_flop(
    config: GemmaConfig | Gemma4Config,
    tokens: int,
    head_dim: int,
    key_heads: int,
    intermediate_size: int,
) -> float:
    """Return the operations of one layer with so many heads of keys and values together."""
    queries = config.num_heads * head_dim
    columns = 2 * queries + key_heads * head_dim + 3 * intermediate_size
    return _product(tokens, config.hidden_size, columns) + 4.0 * tokens * tokens * queries


def text_projection_flop(config: TextProjectionConfig, tokens: int) -> float:
    """Return the operations of projecting all hidden states of a prompt."""
    # The older form has one product for both streams.
    width = config.video_width + (config.audio_width if config.variant == "v2" else 0)
    return _product(tokens, config.hidden_size * config.num_states, width)


def connector_flop(config: ConnectorConfig, rows: int) -> float:
    """Return the operations of one connector over the rows of a context."""
    width = config.num_heads * config.head_dim
    block = _attention(rows, rows, width, width, width)
    block += _product(rows, width, 2 * _FEED_FORWARD * width)
    if config.gated_attention:
        block += _product(rows, width, config.num_heads)
    return config.num_layers * block


def video_decoder_flop(config: VideoVaeConfig, frames: int, height: int, width: int) -> float:
    """Return the operations of decoding a latent of (frames, height, width)."""
    channels = config.decoder_base_channels * math.prod(
        block.multiplier for block in config.decoder_blocks
    )
    cells = (frames, height, width)
    total = _conv(cells, config.latent_channels, channels, _VAE_KERNEL)
    for block in reversed(config.decoder_blocks):
        if block.kind == "res_x":
            total += 2 * block.num_layers * _conv(cells, channels, channels, _VAE_KERNEL)
            continue
        factors = _factors(block)
        after = channels // block.multiplier
        total += _conv(cells, channels, after * math.prod(factors), _VAE_KERNEL)
        # The first of the frames made from a pair is dropped.
        frames = cells[0] * factors[0] - (factors[0] - 1)
        cells = (frames, cells[1] * factors[1], cells[2] * factors[2])
        channels = after
    return total + _conv(cells, channels, 3 * config.patch_size**2, _VAE_KERNEL)


def diffusion_decoder_flop(
    config: DiffusionDecoderConfig,
    grids: Sequence[tuple[int, int, int]],
    tiles: Sequence[tuple[tuple[int, int, int], tuple[int, int, int]]],
    steps: int,
) -> float:
    """Return the operations of decoding by diffusion.

    Args:
        config: structure of the decoder.
        grids: cells of the first four stages.
        tiles: cells of the fourth and of the fifth stage in each tile; the fifth has no ghosts.
        steps: evaluations of the last two stages.
    """
    total = _product(math.prod(grids[0]), config.latent_channels, config.stages[0].channels)
    for stage, grid in zip(config.stages[:-1], grids, strict=False):
        total += _window_stage(stage, math.prod(grid))
    last = config.stages[-1]
    width, pixels = config.channels, 3 * config.patch_size**2
    block = _window_block(width, math.prod(config.window)) + _product(1, width, width)
    per_cell = config.depth * block + 2 * _product(1, width, pixels)
    for coarse, fine in tiles:
        total += steps * (_window_stage(last, math.prod(coarse)) + math.prod(fine) * per_cell)
    return total


def _window_stage(stage: DecoderStage, cells: int) -> float:
    """Return the operations of a stage's blocks and of the layer to the finer grid."""
    finer = math.prod(stage.stride) * stage.channels // stage.reduction
    blocks = stage.depth * _window_block(stage.channels, math.prod(stage.window))
    return cells * (blocks + _product(1, stage.channels, finer))


def _window_block(width: int, window: int) -> float:
    """Return the operations of one cell in a block: four products, attention, feed-forward."""
    return _product(1, width, (4 + 3 * _FEED_FORWARD) * width) + 4.0 * window * width


def video_encoder_flop(config: VideoVaeConfig, frames: int, height: int, width: int) -> float:
    """Return the operations of encoding pictures of (frames, height, width) pixels."""
    channels = config.latent_channels
    cells = (frames, height // config.patch_size, width // config.patch_size)
    total = _conv(cells, 3 * config.patch_size**2, channels, _VAE_KERNEL)
    for block in config.encoder_blocks:
        if block.kind == "res_x":
            total += 2 * block.num_layers * _conv(cells, channels, channels, _VAE_KERNEL)
            continue
        factors = _factors(block)
        after = channels * block.multiplier
        # The first frame is doubled before frames are paired.
        padded = (cells[0] + factors[0] - 1, cells[1], cells[2])
        total += _conv(padded, channels, after // math.prod(factors), _VAE_KERNEL)
        cells = (padded[0] // factors[0], cells[1] // factors[1], cells[2] // factors[2])
        channels = after
    return total + _conv(cells, channels, config.latent_channels + 1, _VAE_KERNEL)


def audio_decoder_flop(config: AudioVaeConfig, latent_frames: int) -> float:
    """Return the operations of decoding an audio latent to a mel spectrum."""
    widths = [config.base_channels * factor for factor in config.channel_multipliers]
    channels = widths[-1]
    cells = (latent_frames, config.latent_bins)
    total = _conv(cells, config.latent_channels, channels, _AUDIO_KERNEL)
    total += 4 * _conv(cells, channels, channels, _AUDIO_KERNEL)
    for level in reversed(range(len(widths))):
        after = widths[level]
        for index in range(config.num_res_blocks + 1):
            before = channels if index == 0 else after
            total += _conv(cells, before, after, _AUDIO_KERNEL)
            total += _conv(cells, after, after, _AUDIO_KERNEL)
            if before != after:
                total += _conv(cells, before, after, 1)
        channels = after
        if level > 0:
            cells = (_LEVEL_FACTOR * cells[0] - 1, _LEVEL_FACTOR * cells[1])
            total += _conv(cells, channels, channels, _AUDIO_KERNEL)
    return total + _conv(cells, channels, config.out_channels, _AUDIO_KERNEL)


def vocoder_flop(config: VocoderConfig, mel_steps: int) -> float:
    """Return the operations of turning a mel spectrum into a wave."""
    total = _generator(config.generator, mel_steps)
    if config.bwe is not None:
        samples = mel_steps * math.prod(config.generator.upsample_rates)
        total += _generator(config.bwe, samples // config.bwe_hop_length)
    return total


def _generator(config: GeneratorConfig, steps: int) -> float:
    channels = config.upsample_initial_channel
    total = _conv((steps,), config.in_channels, channels, _GENERATOR_KERNEL)
    for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
        # Each input step of a transposed convolution meets every tap once.
        total += _conv((steps,), channels, channels // 2, kernel)
        channels //= 2
        steps *= rate
        for size, dilations in zip(
            config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
        ):
            total += 2 * len(dilations) * _conv((steps,), channels, channels, size)
    return total + _conv((steps,), channels, config.out_channels, _GENERATOR_KERNEL)


def _product(rows: int, columns: int, outputs: int) -> float:
    return 2.0 * rows * columns * outputs


def _attention(rows: int, context_rows: int, width: int, context_width: int, inner: int) -> float:
    """Return the operations of the four products and of the attention between them."""
    return (
        _product(rows, width, 2 * inner)
        + _product(context_rows, context_width, 2 * inner)
        + 4.0 * rows * context_rows * inner
    )


def _conv(cells: Iterable[int], inputs: int, outputs: int, taps: int) -> float:
    return 2.0 * math.prod(cells) * inputs * outputs * taps


def _factors(block: VaeBlock) -> tuple[int, int, int]:
    return _FACTORS[block.kind.split("_")[1]]
