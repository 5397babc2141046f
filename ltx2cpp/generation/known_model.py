"""What a generation needs to know of the model that makes it."""

from __future__ import annotations

from ltx2cpp.generation.plan import ModelDefaults
from ltx2cpp.generation.presets import Preset
from ltx2cpp.model.lora import reference_factors
from ltx2cpp.networks.diffusion import held_decoders
from ltx2cpp.networks.networks import Networks


def describe_model(networks: Networks, preset: Preset) -> ModelDefaults:
    """Return what settling needs to know.

    Args:
        networks: of the model.
        preset: its defaults.

    Raises:
        CheckpointError: the files hold no transformer.
    """
    models, backend, config = networks.models, networks.backend, networks.transformer.config
    changed = networks.loras or networks.distilled_lora
    return ModelDefaults(
        preset=preset,
        video_channels=config.in_channels,
        audio_channels=config.audio_in_channels,
        max_seconds=float(config.max_pos[0]),
        info={
            "version": models.version,
            "model_version": models.model_version,
            "variant": models.variant,
            "weight_type": backend.weight_type,
            "device": backend.places,
            **({"lora_mode": backend.lora_mode} if changed else {}),
        },
        loras=tuple(lora.spec for lora in networks.loras),
        distilled_lora=networks.distilled_lora,
        reference_factors=reference_factors(networks.loras),
        reference_loras=tuple(lora.spec for lora in networks.loras if lora.wants_reference),
        silent_file="" if config.audio_stream else models.require("transformer").source,
        decoders=held_decoders(models),
        keyframes_embedding=config.keyframes_embedding,
    )
