"""A denoised clip, decoded while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.plan import Plan
from ltx2cpp.media import to_uint8
from ltx2cpp.networks.backend import VideoDecoder
from ltx2cpp.process_memory import peak_memory_bytes
from ltx2cpp.values import Audio, ByteArray, FloatArray, Observer


class Clip:
    """A denoised clip; see `GenerationStream`."""

    def __init__(
        self,
        *,
        decoder: VideoDecoder,
        observer: Observer,
        plan: Plan,
        video_latent: FloatArray | None,
        audio_latent: FloatArray | None,
        decode_sound: Callable[[], Audio] | None,
        frees_decoder: bool = True,
    ) -> None:
        self._decoder, self._observer = decoder, observer
        self._frees_decoder = frees_decoder
        self.info = plan.info
        self.width, self.height = plan.shape.width, plan.shape.height
        self.num_frames, self.frame_rate = plan.shape.num_frames, plan.shape.frame_rate
        self._extension, self._footage = plan.extension, plan.footage
        self._generated_frames = self.num_frames
        if plan.extension is not None:
            self.num_frames = plan.extension.total_frames
        if plan.footage is not None:
            self.num_frames, self.height, self.width = plan.footage.frames.shape[:3]
        self.video_latent = video_latent
        self.audio_latent = audio_latent
        self._decode_sound = decode_sound
        self._sound: Audio | None = None

    @property
    def audio(self) -> FloatArray | None:
        """Samples (2, n), decoded when first asked for."""
        return None if (sound := self._decoded_sound()) is None else sound.samples

    @property
    def sample_rate(self) -> int | None:
        return None if (sound := self._decoded_sound()) is None else sound.sample_rate

    def frames(self) -> ByteArray:
        """Return all frames, (num_frames, height, width, 3)."""
        video = np.empty((self.num_frames, self.height, self.width, 3), np.uint8)
        start = 0
        for chunk in self:
            video[start : start + len(chunk)] = chunk
            start += len(chunk)
        return video

    def _decoded_sound(self) -> Audio | None:
        if self._sound is None and self._decode_sound is not None:
            sound = self._decode_sound()
            self._sound = sound if self._extension is None else self._extension.join_sound(sound)
        return self._sound

    def __iter__(self) -> Iterator[ByteArray]:
        if self._footage is not None:
            return self._footage.chunks()
        generated = self._decoded()
        if self._extension is None:
            return generated
        return self._extension.join_frames(generated, self.width, self.height)

    def _decoded(self) -> Iterator[ByteArray]:
        if self.video_latent is None:
            raise ArgumentError("the clip has no pictures: it was made with video=False")
        self._decoder.open()
        name, done = "decode video", 0
        self._observer.phase_started(name, self._generated_frames)
        # Only the decoder's share of the time; the consumer works between the chunks.
        seconds, start = 0.0, time.perf_counter()
        for chunk in self._decoder.stream(self.video_latent):
            frames = to_uint8(chunk)
            done += len(frames)
            seconds += time.perf_counter() - start
            self._observer.phase_progress(name, done, self._generated_frames)
            yield frames
            start = time.perf_counter()
        seconds += time.perf_counter() - start
        if self._frees_decoder:
            self._decoder.release()
        self._observer.phase_ended(name, seconds, peak_memory_bytes())
