"""Configurations of the networks: metadata checked against tensors, as frozen dataclasses."""

from __future__ import annotations

from ltx2cpp.config.audio import (
    AudioConfig,
    AudioVaeConfig,
    GeneratorConfig,
    VocoderConfig,
    read_audio_vae_config,
    read_vocoder_config,
)
from ltx2cpp.config.diffusion_decoder import (
    DecoderStage,
    DiffusionDecoderConfig,
    is_diffusion_decoder,
    read_diffusion_decoder_config,
)
from ltx2cpp.config.duration_head import DurationHeadConfig, read_duration_head_config
from ltx2cpp.config.fields import Fields, parse_config
from ltx2cpp.config.gemma import GemmaConfig, read_gemma_config, read_gemma_gguf_config
from ltx2cpp.config.gemma4 import (
    Gemma4Config,
    Gemma4Heads,
    is_gemma4,
    read_gemma4_config,
    read_gemma4_gguf_config,
    unused_gemma4_weights,
)
from ltx2cpp.config.preview_decoder import (
    PreviewDecoderConfig,
    read_preview_decoder_config,
)
from ltx2cpp.config.transformer import (
    ConnectorConfig,
    TextProjectionConfig,
    TransformerConfig,
    read_connector_config,
    read_text_projection_config,
    read_transformer_config,
)
from ltx2cpp.config.video_vae import (
    UpsamplerConfig,
    VaeBlock,
    VideoVaeConfig,
    read_upsampler_config,
    read_video_vae_config,
)

__all__ = [
    "AudioConfig",
    "AudioVaeConfig",
    "ConnectorConfig",
    "DecoderStage",
    "DiffusionDecoderConfig",
    "DurationHeadConfig",
    "Fields",
    "Gemma4Config",
    "Gemma4Heads",
    "GemmaConfig",
    "GeneratorConfig",
    "PreviewDecoderConfig",
    "TextProjectionConfig",
    "TransformerConfig",
    "UpsamplerConfig",
    "VaeBlock",
    "VideoVaeConfig",
    "VocoderConfig",
    "is_diffusion_decoder",
    "is_gemma4",
    "parse_config",
    "read_audio_vae_config",
    "read_connector_config",
    "read_diffusion_decoder_config",
    "read_duration_head_config",
    "read_gemma4_config",
    "read_gemma4_gguf_config",
    "read_gemma_config",
    "read_gemma_gguf_config",
    "read_preview_decoder_config",
    "read_text_projection_config",
    "read_transformer_config",
    "read_upsampler_config",
    "read_video_vae_config",
    "read_vocoder_config",
    "unused_gemma4_weights",
]
