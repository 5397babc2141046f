"""Check that components from different files belong to one model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ltx2cpp.errors import ConfigError

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component
    from ltx2cpp.model.model_set import ModelSet

logger = logging.getLogger("ltx2cpp")

_GEMMA_OF_25 = "gemma4-12b-with-proj-ltx-2.5"

# Blocks of the video decoder -> the generation it is from.
_DECODER_GENERATIONS = {7: "2.0", 9: "2.3"}


def check_compatible(models: ModelSet) -> None:
    """Compare widths where one component hands over to the next.

    Raises:
        ConfigError: two components do not fit; the sentence names both files.
    """
    _check_text(models)
    _check_context(models)
    _check_video(models)
    _check_audio(models)
    _check_duration_head(models)
    _check_preview_decoder(models)


def _check_text(models: ModelSet) -> None:
    encoder, projection = models.text_encoder, models.text_projection
    if encoder is None:
        return
    if models.transformer is not None:
        _check_gemma(models, encoder, models.transformer)
    if projection is not None:
        states = encoder.config.num_layers + 1
        if projection.config.num_states != states:
            raise ConfigError(
                f"{encoder.source}: this text encoder does not fit: it gives {states} states "
                f"{encoder.config.hidden_size} wide, but the text projection in "
                f"{projection.source} takes {projection.config.num_states}; LTX-2 and LTX-2.3 use "
                "Gemma 3 12B"
            )


def _check_gemma(models: ModelSet, encoder: Component, transformer: Component) -> None:
    """Check that a transformer was trained with the text encoder; shapes do not tell all of it.

    Source: ltx-core 1.2.0, which compares `gemma_version` of both files.
    """
    config = encoder.config
    if models.version != "2.5":
        if config.family != "gemma3":
            raise ConfigError(
                f"{encoder.source}: this is Gemma 4, the text encoder of LTX-2.5, but the "
                f"transformer in {transformer.source} is of LTX-{models.version}, which needs "
                "Gemma 3 12B (by name: gemma-3-12b)"
            )
        return
    if config.family != "gemma4":
        raise ConfigError(
            f"{encoder.source}: this is Gemma 3, but the transformer in {transformer.source} is of "
            f"LTX-2.5, which needs its own Gemma 4 ({_GEMMA_OF_25})"
        )
    asked, given = models.gemma_version, config.gemma_version
    if asked and asked != given and not (config.named_ltx and not given):
        stated = f"gemma_version {given!r}" if given else "no gemma_version, as stock Gemma 4 has"
        raise ConfigError(
            f"{encoder.source}: this text encoder has {stated}, but the transformer in "
            f"{transformer.source} was trained with Gemma {asked!r} ({_GEMMA_OF_25})"
        )
    if not asked and given and models.model_version:
        raise ConfigError(
            f"{encoder.source}: this text encoder is {given!r}, but the transformer in "
            f"{transformer.source} (version {models.model_version}) does not say that it was "
            "trained with it; take the text encoder that was published with the transformer"
        )
    if not given:
        logger.warning(
            "%s: does not say which Gemma it is; LTX-2.5 needs its own (%s), and stock Gemma 4 has "
            "the same shapes",
            encoder.source,
            _GEMMA_OF_25,
        )


def _check_context(models: ModelSet) -> None:
    for kind in ("video", "audio"):
        connector = models.video_connector if kind == "video" else models.audio_connector
        if connector is None:
            continue
        width = connector.config.num_heads * connector.config.head_dim
        projection, transformer = models.text_projection, models.transformer
        if projection is not None:
            projection_width = getattr(projection.config, f"{kind}_width")
            if projection_width not in (0, width):
                raise ConfigError(
                    f"{connector.source}: the {kind} connector is {width} wide, but the text "
                    f"projection in {projection.source} gives {projection_width}; are they of one "
                    "version?"
                )
        if transformer is not None:
            context_width = transformer.config.context_widths[kind]
            if context_width not in (0, width):
                raise ConfigError(
                    f"{connector.source}: the {kind} connector is {width} wide, but the "
                    f"transformer in {transformer.source} takes {context_width}; are they of one "
                    "version?"
                )


def _check_video(models: ModelSet) -> None:
    transformer = models.transformer
    vae = models.video_decoder or models.video_encoder
    if vae is not None and transformer is not None:
        channels = vae.config.latent_channels
        if channels != transformer.config.in_channels:
            raise ConfigError(
                f"{vae.source}: the video VAE has {channels} latent channels, but the transformer "
                f"in {transformer.source} works on {transformer.config.in_channels}"
            )
        made_for = _DECODER_GENERATIONS.get(len(vae.config.decoder_blocks))
        model = "2.3" if models.version == "2.5" else models.version
        # Within one file the publisher knows; the widths of both generations are the same.
        if vae.source != transformer.source and made_for not in (None, model):
            raise ConfigError(
                f"{vae.source}: this video VAE is of LTX-{made_for}, but the transformer in "
                f"{transformer.source} is of LTX-{models.version}; their latents differ"
            )
    for upsampler in (models.spatial_upsampler, models.temporal_upsampler):
        if upsampler is not None and vae is not None:
            channels = upsampler.config.in_channels
            if channels != vae.config.latent_channels:
                raise ConfigError(
                    f"{upsampler.source}: the upsampler works on {channels} latent channels, but "
                    f"the video VAE in {vae.source} has {vae.config.latent_channels}"
                )


def _check_audio(models: ModelSet) -> None:
    vae = models.audio_decoder or models.audio_encoder
    if vae is None:
        return
    transformer, vocoder = models.transformer, models.vocoder
    values = vae.config.latent_channels * vae.config.latent_bins
    if transformer is not None and transformer.config.audio_in_channels not in (0, values):
        raise ConfigError(
            f"{vae.source}: the audio VAE has {values} values per latent frame, but the "
            f"transformer in {transformer.source} works on {transformer.config.audio_in_channels}"
        )
    if vocoder is not None:
        bins = vae.config.out_channels * vae.config.mel_bins
        if vocoder.config.generator.in_channels != bins:
            raise ConfigError(
                f"{vocoder.source}: the vocoder takes {vocoder.config.generator.in_channels} mel "
                f"values, but the audio VAE in {vae.source} gives {bins}"
            )


def _check_duration_head(models: ModelSet) -> None:
    head, transformer = models.duration_head, models.transformer
    if head is None or transformer is None:
        return
    for kind, given in transformer.config.context_widths.items():
        width = getattr(head.config, f"{kind}_width")
        if given not in (0, width):
            raise ConfigError(
                f"{head.source}: the duration head reads {kind} contexts {width} wide, but those "
                f"of the transformer in {transformer.source} are {given} wide; are they of one "
                "version?"
            )


def _check_preview_decoder(models: ModelSet) -> None:
    decoder, transformer = models.preview_decoder, models.transformer
    if decoder is None or transformer is None:
        return
    channels = decoder.config.latent_channels
    if channels != transformer.config.in_channels:
        raise ConfigError(
            f"{decoder.source}: the preview decoder reads {channels} latent channels, but the "
            f"transformer in {transformer.source} works on {transformer.config.in_channels}; take "
            "the one of this model (*taeltx*)"
        )
