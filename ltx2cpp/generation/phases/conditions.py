"""What the clip is held to, encoded: pictures at the size of each stage, and sounds."""

from __future__ import annotations

from dataclasses import replace

from ltx2cpp.conditioning.placement import Placement
from ltx2cpp.generation.phases.phase import FLOAT_BYTES, Phase, State
from ltx2cpp.latents import ClipShape
from ltx2cpp.memory.plan import DecodePieces, PhaseNeeds, largest_of
from ltx2cpp.model.components import Component
from ltx2cpp.networks import cost
from ltx2cpp.values import Audio, FloatArray

_RGB = 3


class EncodePictures(Phase):
    """Pictures and videos of the conditions through the video encoder."""

    name = "encode pictures"
    component = "video encoder"
    part = "encode"

    @property
    def is_needed(self) -> bool:
        return self.units > 0

    @property
    def units(self) -> int:
        return len(self._pictures())

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.video_encoder,)

    def check(self) -> None:
        self._networks.video_encoder.check(self._plan.model.video_channels)

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        sizes = [(len(item.frames), *item.size(shape)) for item, shape in self._pictures().values()]
        config = self._networks.models.require("video_encoder").config
        encoder = self._networks.video_encoder
        pixels = max(n * w * h for n, w, h in sizes) * _RGB
        return PhaseNeeds(
            self.name,
            self.component,
            (largest_of([encoder.measure((n, h, w, _RGB)) for n, w, h in sizes]),),
            # Fitted to the size in float32, as bytes, and scaled for the network.
            pixels * (FLOAT_BYTES + 1 + FLOAT_BYTES),
            sum(cost.video_encoder_flop(config, n, h, w) for n, w, h in sizes),
        )

    def open(self) -> None:
        self._networks.video_encoder.open()

    def run(self, state: State) -> State:
        encoded: dict[_Key, FloatArray] = {}
        for done, (key, (item, shape)) in enumerate(self._pictures().items(), start=1):
            encoded[key] = self._networks.video_encoder.encode(item.pixels(shape))
            self._report(done)
        latents = tuple(
            tuple(encoded[_key(item, stage.shape)] for item in stage.placements.items)
            for stage in self._plan.stages
        )
        return replace(state, picture_latents=latents)

    def release(self) -> None:
        self._networks.video_encoder.release()

    def _pictures(self) -> dict[_Key, tuple[Placement, ClipShape]]:
        """Return what is encoded, each picture once at each size; stages share them."""
        return {
            _key(item, stage.shape): (item, stage.shape)
            for stage in self._plan.stages
            for item in stage.placements.items
        }


# The frames that are encoded, by their id, and width and height.
_Key = tuple[int, int, int]


def _key(item: Placement, shape: ClipShape) -> _Key:
    return id(item.frames), *item.size(shape)


class EncodeSounds(Phase):
    """The sound that leads the pictures, and sounds of conditions, through the audio encoder."""

    name = "encode audio"
    component = "audio encoder"
    part = "encode"

    @property
    def is_needed(self) -> bool:
        return bool(self._sounds())

    @property
    def units(self) -> int:
        return len(self._sounds())

    @property
    def weights(self) -> tuple[Component | None, ...]:
        return (self._networks.models.audio_encoder,)

    def check(self) -> None:
        self._networks.models.require("audio_encoder")

    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        sounds = self._sounds()
        networks = [
            self._networks.audio_encoder.measure(sound.samples.shape[1], sound.sample_rate)
            for sound in sounds
        ]
        # Resampled and as windows that overlap by half and more.
        host = 8 * max(sound.samples.nbytes for sound in sounds)
        return PhaseNeeds(self.name, self.component, (largest_of(networks),), host, 0.0)

    def open(self) -> None:
        self._networks.audio_encoder.open()

    def run(self, state: State) -> State:
        latents = {}
        for done, sound in enumerate(self._sounds(), start=1):
            latents[id(sound)] = self._networks.audio_encoder.encode(
                sound.samples, sound.sample_rate
            )
            self._report(done)
        return replace(state, sound_latents=latents)

    def release(self) -> None:
        self._networks.audio_encoder.release()

    def _sounds(self) -> list[Audio]:
        """Return the sounds, each once; stages share those of their conditions."""
        plan = self._plan
        if not plan.audio:
            return []
        items = (item.audio for stage in plan.stages for item in stage.placements.items)
        sounds = [sound for sound in (*items, plan.sound) if sound is not None]
        return list({id(sound): sound for sound in sounds}.values())
