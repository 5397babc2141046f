"""The finished latents decoded; both phases wait until their result is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.media import to_codes, to_uint8
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks import cost
from ltx2cpp.networks.video import VideoDecoder
from ltx2cpp.values import FloatArray, FrameArray

# A chunk of frames as the core gives it, its levels before they are rounded, and the bytes.
_CHUNK_COPIES = 2.25


class DecodeSound(Phase):
    """Audio latent through audio VAE and vocoder."""

    name = "decode audio"
    component = "audio decoder"
    is_deferred = True

    @property
    def is_needed(self) -> bool:
        return self._plan.decodes and self._plan.audio and self._plan.sound is None

    @property
    def weights(self) -> tuple[Component | None, ...]:
        models = self._networks.models
        return models.audio_decoder, models.vocoder

    def check(self) -> None:
        self._networks.audio_decoder.check(self._plan.model.audio_channels)

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        models, frames = self._networks.models, self._plan.stages[0].shape.audio_frames
        vocoder = models.require("vocoder").config
        decoder = models.require("audio_decoder").config
        steps = decoder.mel_frames(frames)
        samples = steps * vocoder.sample_rate_hz // 100
        return PhaseNeeds(
            self.name,
            self.component,
            self._networks.audio_decoder.measure(frames),
            4 * samples * FLOAT_BYTES,
            cost.audio_decoder_flop(decoder, frames) + cost.vocoder_flop(vocoder, steps),
        )

    def open(self) -> None:
        self._networks.audio_decoder.open()

    def run(self, state: State) -> State:
        assert state.kept_audio_latent is not None
        return replace(state, sound=self._networks.audio_decoder.decode(state.kept_audio_latent))

    def release(self) -> None:
        self._networks.audio_decoder.release()


class DecodeVideo(Phase):
    """Video latent to frames, in chunks."""

    name = "decode video"
    component = "video decoder"
    is_deferred = True

    @property
    def is_needed(self) -> bool:
        return self._plan.decodes and self._plan.video and self._plan.finish.decodes_video

    @property
    def units(self) -> int:
        return self._plan.decoded_shape.num_frames

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.video_decoder,)

    def check(self) -> None:
        self._networks.video_decoder.check(self._plan.model.video_channels)

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        plan, shape = self._plan, self._plan.decoded_shape
        cells = (shape.latent_frames, shape.latent_height, shape.latent_width)
        channels = plan.model.video_channels
        network = self._decoder.measure((channels, *cells), pieces)
        config = self._networks.models.require("video_decoder").config
        return PhaseNeeds(
            self.name,
            self.component,
            (network,),
            int(_CHUNK_COPIES * network.output_bytes)
            + 2 * channels * math.prod(cells) * FLOAT_BYTES,
            cost.video_decoder_flop(config, *cells),
            in_pieces=True,
        )

    def open(self) -> None:
        self._decoder.open()

    def run(self, state: State) -> State:
        assert state.video_latent is not None
        return replace(state, pictures=self._pictures(state.video_latent, state.pieces))

    def release(self) -> None:
        self._decoder.release()

    @property
    def _decoder(self) -> VideoDecoder:
        """The decoder; HDR is decoded in float32."""
        networks = self._networks
        return networks.video_decoder if self._plan.hdr is None else networks.exact_video_decoder

    def _pictures(self, latent: FloatArray, pieces: DecodePieces) -> Iterator[FrameArray]:
        done = 0
        levels = to_uint8 if self._plan.hdr is None else to_codes
        for chunk in self._decoder.stream(latent, pieces):
            frames = levels(chunk)
            done += len(frames)
            self._report(done)
            yield frames
