"""The networks of sound: audio VAE and vocoder, numpy in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ltx2cpp import _core
from ltx2cpp.errors import CheckpointError, ConfigError, ShapeError
from ltx2cpp.media.resampling import check_sample_rate, resample, to_stereo
from ltx2cpp.memory.plan import NetworkNeeds
from ltx2cpp.networks.backend import Backend
from ltx2cpp.networks.mel import log_mel
from ltx2cpp.values import Audio, FloatArray, as_float32

if TYPE_CHECKING:
    from ltx2cpp.config import AudioVaeConfig, VocoderConfig
    from ltx2cpp.model.model_set import ModelSet


class AudioDecoder:
    """Audio latent to wave: the decoder of the audio VAE, then the vocoder."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._decoder = backend.lazy(
            "audio decoder",
            ["audio_decoder"],
            lambda: backend.claim(_core.AudioDecoder, models.require("audio_decoder")),
        )
        self._vocoder = backend.lazy(
            "vocoder", ["vocoder"], lambda: backend.claim(_core.Vocoder, models.require("vocoder"))
        )

    @property
    def sample_rate(self) -> int:
        """Of decoded waves, in Hz."""
        config: VocoderConfig = self._models.require("vocoder").config
        return config.sample_rate_hz

    def check(self, channels: int) -> None:
        """Raise unless the files can decode audio tokens of ``channels`` values."""
        for name in ("audio_decoder", "vocoder"):
            if getattr(self._models, name) is None:
                raise CheckpointError(
                    f"{self._models.why_missing(name)}; or generate without sound (audio=False, "
                    "--no-audio)"
                )
        config = self._vae_config()
        if config.latent_channels * config.latent_bins != channels:
            raise ConfigError(
                f"the audio VAE has {config.latent_channels} latent channels of "
                f"{config.latent_bins} bins and the transformer {channels} values per audio token; "
                "they belong to different models"
            )
        vocoder: VocoderConfig = self._models.require("vocoder").config
        if vocoder.generator.in_channels != config.out_channels * config.mel_bins:
            raise ConfigError(
                f"the vocoder takes {vocoder.generator.in_channels} mel values per step and the "
                f"audio VAE gives {config.out_channels} channels of {config.mel_bins}; they belong "
                "to different models"
            )

    def open(self) -> None:
        """Load the weights of both networks now instead of at the first call."""
        self._decoder.open()
        self._vocoder.open()

    def decode_mel(self, latent: FloatArray) -> FloatArray:
        config = self._vae_config()
        values = as_float32(latent, "audio latent", 3)
        expected = (config.latent_channels, config.latent_bins)
        if (values.shape[0], values.shape[2]) != expected or values.shape[1] == 0:
            raise ShapeError(
                f"audio latent: expected ({expected[0]}, L, {expected[1]}), found {values.shape}"
            )
        with self._decoder.computing() as decoder:
            mel = decoder.decode(values)
        return self._backend.finite(mel, "audio decoder", self._models.require("audio_decoder"))

    def vocode(self, mel: FloatArray) -> FloatArray:
        config: VocoderConfig = self._models.require("vocoder").config
        channels = config.generator.out_channels
        values = as_float32(mel, "mel", 3)
        expected = (channels, config.generator.in_channels // channels)
        if (values.shape[0], values.shape[2]) != expected or values.shape[1] == 0:
            raise ShapeError(
                f"mel: expected ({expected[0]}, steps, {expected[1]}), found {values.shape}"
            )
        with self._vocoder.computing() as vocoder:
            samples = vocoder.vocode(values)
        return self._backend.finite(samples, "vocoder", self._models.require("vocoder"))

    def decode(self, latent: FloatArray) -> Audio:
        """Return the wave of a latent (8, L, 16)."""
        return Audio(samples=self.vocode(self.decode_mel(latent)), sample_rate=self.sample_rate)

    def measure(self, frames: int) -> tuple[NetworkNeeds, NetworkNeeds]:
        """Return what so many latent frames take in the decoder and in the vocoder."""
        steps = self._vae_config().mel_frames(frames)
        return (
            NetworkNeeds(**self._decoder.draft().measure(frames)),
            NetworkNeeds(**self._vocoder.draft().measure(steps)),
        )

    def release(self) -> None:
        self._decoder.release()
        self._vocoder.release()

    def _vae_config(self) -> AudioVaeConfig:
        config: AudioVaeConfig = self._models.require("audio_decoder").config
        return config


class AudioEncoder:
    """Wave to audio latent: resampling, log-mel spectrum, the encoder of the audio VAE."""

    def __init__(self, models: ModelSet, backend: Backend) -> None:
        self._models, self._backend = models, backend
        self._encoder = backend.lazy(
            "audio encoder",
            ["audio_encoder"],
            lambda: backend.claim(_core.AudioEncoder, models.require("audio_encoder")),
        )

    def open(self) -> None:
        """Load the weights now instead of at the first call."""
        self._encoder.open()

    def encode(self, samples: FloatArray, sample_rate: int) -> FloatArray:
        config: AudioVaeConfig = self._models.require("audio_encoder").config
        rate = check_sample_rate(sample_rate)
        mel = log_mel(resample(to_stereo(samples), rate, config.sample_rate_hz), config)
        with self._encoder.computing() as encoder:
            latent = encoder.encode(np.ascontiguousarray(mel))
        component = self._models.require("audio_encoder")
        return self._backend.finite(latent, "audio encoder", component)

    def measure(self, samples: int, sample_rate: int) -> NetworkNeeds:
        """Return what a wave of so many samples takes."""
        config: AudioVaeConfig = self._models.require("audio_encoder").config
        steps = samples * config.sample_rate_hz // sample_rate // config.hop_length + 1
        return NetworkNeeds(**self._encoder.draft().measure(steps))

    def release(self) -> None:
        self._encoder.release()
