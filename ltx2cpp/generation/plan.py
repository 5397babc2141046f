"""A generation with every value settled, and what settling needs to know of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltx2cpp.conditioning import AudioCondition, Condition
from ltx2cpp.conditioning.finish import Finish
from ltx2cpp.conditioning.placement import Placements
from ltx2cpp.generation.dfr_layout import Tile
from ltx2cpp.generation.pipelines import PipelineSpec
from ltx2cpp.generation.presets import Preset
from ltx2cpp.latents import ClipShape
from ltx2cpp.media import Hdr
from ltx2cpp.options import Decoder, Guidance, LoraSpec, StepCache
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.values import Audio, FloatArray, PromptEmbedding


@dataclass(frozen=True)
class ModelDefaults:
    """What settling needs to know of the model.

    Attributes:
        preset: its defaults.
        video_channels: values of a video token.
        audio_channels: values of an audio token.
        max_seconds: end of the position range on the time axis.
        info: what `GenerationOutput.info` tells of the model; plain JSON types.
        loras: LoRAs in use, each in all stages or in one.
        distilled_lora: what makes a full model a distilled one, or None.
        reference_factors: how much smaller, and slower, the LoRAs want their reference video.
        reference_loras: those LoRAs that want one.
        silent_file: where the transformer is from, if it has no audio stream; "" otherwise.
        decoders: video decoders that the files hold, the one that decodes by default first.
        keyframes_embedding: whether it was trained to generate keyframes beside the clip.
    """

    preset: Preset
    video_channels: int
    audio_channels: int
    max_seconds: float
    info: dict[str, Any]
    loras: tuple[LoraSpec, ...] = ()
    distilled_lora: Path | None = None
    reference_factors: tuple[int, int] = (1, 1)
    reference_loras: tuple[LoraSpec, ...] = ()
    silent_file: str = ""
    decoders: tuple[Decoder, ...] = ()
    keyframes_embedding: bool = False


@dataclass(frozen=True)
class RoundTile:
    """A tile of a temporal round, as a stage of a generation.

    Attributes:
        number: of the round, from 1.
        index: of the tile in its round, from 0.
        layout: where it lies.
        clip: shape of the whole clip in its round, at the frame rate it is played at.
    """

    number: int
    index: int
    layout: Tile
    clip: ClipShape


@dataclass(frozen=True, eq=False)
class Stage:
    """One denoising run of a generation.

    Attributes:
        shape: size of the clip at this stage.
        sigmas: (steps + 1,) noise levels; the first is the share of noise it starts from.
        guidance: strengths of both streams.
        sampler: the sampler with its options.
        placements: what the clip is held to.
        noise: video tokens (T, C), appended conditions included, and audio tokens (L, C'), or None
            to draw them.
        loras: LoRAs that change the transformer in it.
        keeps_sound: whether the sound it starts from stays as it is.
        tile: the part of a temporal round that it denoises, without sound; None for the whole clip.
        step_cache: how estimates are forecast from earlier ones; None computes all.
    """

    shape: ClipShape
    sigmas: FloatArray
    guidance: Guidance
    sampler: SamplerChoice
    placements: Placements
    noise: tuple[FloatArray | None, FloatArray | None] | None = None
    loras: tuple[LoraSpec, ...] = ()
    keeps_sound: bool = False
    tile: RoundTile | None = None
    step_cache: StepCache | None = None


@dataclass(frozen=True)
class Enhancement:
    """A prompt that is written out before it is encoded.

    Attributes:
        shows_pictures: whether the clip is also made from pictures or clips.
        seed: of the tokens that are drawn.
    """

    shows_pictures: bool
    seed: int


@dataclass(frozen=True, eq=False)
class Plan:
    """A generation with every value settled.

    Attributes:
        prompt: text to encode, or contexts.
        asked_prompt: the text as it was given, where another one is encoded; otherwise None.
        enhancement: how the prompt is written out first; None where it is not, or was already.
        negative: the same for the negative prompt; None when guidance does not use it.
        pipeline: the official pipeline it follows.
        preset: defaults it took.
        model: what settling knew of the model.
        shape: of the clip as it is asked for, before its frame rate is doubled.
        stages: one, or two where the first runs at half size; then the tiles of temporal rounds.
        seed: seed of the noise; None when noise was given.
        video, audio: whether the stream runs; at least one does.
        decodes: whether pictures and sound are decoded.
        decoder: what decodes the pictures.
        decoder_seed: seed of the noise that the diffusion decoder starts from.
        conditions: as given.
        audio_condition: the sound that leads the pictures, as given, or None.
        sound: the same cut to the clip.
        finish: what is done with the decoded frames and sound.
        sound_stage: index of the stage whose sound the clip carries.
        hdr: how the clip is high dynamic range; None for display colours.
        temporal_upscale: whether the latents are brought to twice the frame rate at the end.
        decoded_shape: of the clip that is decoded.
    """

    prompt: str | PromptEmbedding
    asked_prompt: str | None
    enhancement: Enhancement | None
    negative: str | PromptEmbedding | None
    pipeline: PipelineSpec
    preset: Preset
    model: ModelDefaults
    shape: ClipShape
    stages: tuple[Stage, ...]
    seed: int | None
    video: bool
    audio: bool
    decodes: bool
    decoder: Decoder
    decoder_seed: int
    conditions: tuple[Condition, ...]
    audio_condition: AudioCondition | None
    sound: Audio | None
    finish: Finish
    sound_stage: int
    hdr: Hdr | None
    temporal_upscale: bool
    decoded_shape: ClipShape = field(init=False)

    def __post_init__(self) -> None:
        tile = self.stages[-1].tile
        doublings = int(self.temporal_upscale) if tile is None else tile.number
        object.__setattr__(self, "decoded_shape", self.shape.doubled(doublings))

    def denoises_sound(self, stage: Stage) -> bool:
        """Whether the audio stream runs in a stage."""
        return self.audio and stage.tile is None

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts that are given as text, each once."""
        prompts = (self.prompt, self.negative)
        return tuple(dict.fromkeys(each for each in prompts if isinstance(each, str)))
