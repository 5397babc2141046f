"""The finished latents decoded; both phases wait until their result is asked for."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.generation.plan import Plan
from ltx2cpp.media import to_codes, to_uint8
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks import cost
from ltx2cpp.networks.diffusion import DiffusionDecoder
from ltx2cpp.networks.networks import Networks
from ltx2cpp.networks.video import VideoDecoder
from ltx2cpp.values import FloatArray, FrameArray

# Chunks of one latent frame, then tiles of ever fewer latents along the longer side. Chunks change
# no number; tiles blend, so the largest that fits is taken.
CONV_SIZES = (
    DecodePieces(),
    DecodePieces(2),
    DecodePieces(1),
    DecodePieces(1, 24),
    DecodePieces(1, 16),
    DecodePieces(1, 12),
    DecodePieces(1, 8),
    DecodePieces(1, 6),
)
# Frames that are rounded to bytes at a time.
_FRAMES_AT_ONCE = 8
# A chunk of frames as the core gives it, its levels before they are rounded, and the bytes.
_CHUNK_COPIES = 2.25
# With codes in place of the bytes, and frames as the colours that go into files.
_HDR_CHUNK_COPIES = 4.0


class DecodeSound(Phase):
    """Audio latent through audio VAE and vocoder."""

    name = "decode audio"
    component = "audio decoder"
    part = "decode"
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
    part = "decode"
    is_deferred = True

    @property
    def is_needed(self) -> bool:
        return self._plan.decodes and self._plan.video and self._plan.finish.decodes_video

    @property
    def units(self) -> int:
        return self._plan.decoded_shape.num_frames

    def run(self, state: State) -> State:
        assert state.video_latent is not None
        chunks = self._chunks(state.video_latent, state.pieces)
        return replace(state, pictures=self._pictures(chunks))

    @abstractmethod
    def _chunks(self, latent: FloatArray, pieces: DecodePieces) -> Iterator[FloatArray]:
        """Return an iterator over the decoded frames."""

    @property
    def _latent_shape(self) -> tuple[int, int, int, int]:
        """(C, F, h, w) of the finished latent."""
        shape = self._plan.decoded_shape
        cells = (shape.latent_frames, shape.latent_height, shape.latent_width)
        return self._plan.model.video_channels, *cells

    @property
    def _copies(self) -> float:
        """What a chunk takes on its way to pictures, in sizes of it."""
        return _CHUNK_COPIES if self._plan.hdr is None else _HDR_CHUNK_COPIES

    def _pictures(self, chunks: Iterator[FloatArray]) -> Iterator[FrameArray]:
        done = 0
        levels = to_uint8 if self._plan.hdr is None else to_codes
        for chunk in chunks:
            for start in range(0, len(chunk), _FRAMES_AT_ONCE):
                frames = levels(chunk[start : start + _FRAMES_AT_ONCE])
                done += len(frames)
                self._report(done)
                yield frames
            # Else it is still there when the next one is made.
            del chunk


class DecodeByConvolution(DecodeVideo):
    """With the convolutional decoder, frame after frame."""

    component = "video decoder"

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.video_decoder,)

    @property
    def decode_sizes(self) -> Sequence[DecodePieces]:
        return CONV_SIZES

    def check(self) -> None:
        self._networks.video_decoder.check(self._plan.model.video_channels)

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        latent = self._latent_shape
        network = self._decoder.measure(latent, pieces)
        config = self._networks.models.require("video_decoder").config
        return PhaseNeeds(
            self.name,
            self.component,
            (network,),
            int(self._copies * network.output_bytes) + 2 * math.prod(latent) * FLOAT_BYTES,
            cost.video_decoder_flop(config, *latent[1:]),
            in_pieces=True,
        )

    def open(self) -> None:
        self._decoder.open()

    def release(self) -> None:
        self._decoder.release()

    def _chunks(self, latent: FloatArray, pieces: DecodePieces) -> Iterator[FloatArray]:
        return self._decoder.stream(latent, pieces)

    @property
    def _decoder(self) -> VideoDecoder:
        """The decoder; HDR is decoded in float32."""
        networks = self._networks
        return networks.video_decoder if self._plan.hdr is None else networks.exact_video_decoder


class DecodeByDiffusion(DecodeVideo):
    """With the diffusion decoder, a row of tiles in time after the other."""

    component = "diffusion video decoder"
    cut_by_memory = True

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.diffusion_decoder,)

    @property
    def decode_sizes(self) -> Sequence[DecodePieces]:
        tilings = self._decoder.tilings(self._latent_shape)
        return [DecodePieces(tiling=tiling) for tiling in tilings]

    def check(self) -> None:
        self._decoder.check(self._plan.model.video_channels)

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        latent = self._latent_shape
        network, arrays = self._decoder.measure(latent, pieces.tiling)
        pixels = _FRAMES_AT_ONCE * self._plan.shape.width * self._plan.shape.height
        return PhaseNeeds(
            self.name,
            self.component,
            (network,),
            arrays
            + int(self._copies * 3 * pixels * FLOAT_BYTES)
            + 2 * math.prod(latent) * FLOAT_BYTES,
            self._decoder.flop(latent, pieces.tiling),
            in_pieces=True,
        )

    def open(self) -> None:
        self._decoder.open()

    def release(self) -> None:
        self._decoder.release()

    def _chunks(self, latent: FloatArray, pieces: DecodePieces) -> Iterator[FloatArray]:
        return self._decoder.stream(latent, seed=self._plan.decoder_seed, tiling=pieces.tiling)

    @property
    def _decoder(self) -> DiffusionDecoder:
        """The decoder; HDR is decoded in float32."""
        networks = self._networks
        if self._plan.hdr is None:
            return networks.diffusion_decoder
        return networks.exact_diffusion_decoder


def decode_video(plan: Plan, networks: Networks) -> DecodeVideo:
    """Return the phase that decodes the pictures of a generation."""
    kind = DecodeByDiffusion if plan.decoder == "diffusion" else DecodeByConvolution
    return kind(plan, networks)
