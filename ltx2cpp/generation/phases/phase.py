"""What a phase of a generation is, and what the phases hand on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ltx2cpp.devices import Part
from ltx2cpp.generation.plan import Plan
from ltx2cpp.journal import Journal
from ltx2cpp.memory.plan import WHOLE, DecodePieces, PhaseNeeds
from ltx2cpp.model.components import Component
from ltx2cpp.networks.networks import Networks
from ltx2cpp.networks.text import Features
from ltx2cpp.observing import Step
from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.values import Audio, FloatArray, FrameArray, PromptEmbedding

# Bytes of a float32, in which everything on the host is counted.
FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class State:
    """What the phases so far have made.

    Attributes:
        contexts: what the prompts given as text became.
        noise: where the stages draw their noise from, in turn; None where it was given.
        on_step: called after each denoising step, or None.
        journal: what an earlier run of the same generation has made, and where this one keeps what
            it makes; None keeps nothing.
        pieces: how the video decoder takes the clip apart.
        enhanced_prompt: the prompt written out, where that was asked for.
        seconds: how long the clip is to be, where the prompt decides it.
        features: each prompt between text encoder and connectors.
        picture_latents: per stage, of its conditions in order: (C, F, h, w), normalised.
        sound_latents: latents (C, L, M), normalised, by the id of the `Audio` that was encoded.
        video_latent: (C, F, h, w) of the last stage, normalised, or None.
        audio_latent: (C, L, M) of the last stage, normalised, or None.
        kept_audio_latent: the audio latent that the clip carries.
        smaller_latent: the video latent before it was last enlarged, or None.
        keyframe_latents: (C, K, h, w) of keyframes generated beside the clip, normalised, or None.
        anchors: in temporal rounds, the keyframes so far, (C, 1, h, w) by pixel frame.
        parts: of the round on its way, the latents of its finished tiles.
        saved_calls: calls of the transformer that a step cache saved; None without one, or where
            the latents are from the journal.
        sound: decoded, before the finish.
        pictures: chunks (n, height, width, 3), uint8 or float32 codes of HDR, decoded while they
            are read.
    """

    contexts: Mapping[str, PromptEmbedding]
    noise: NoiseSource | None = None
    on_step: Callable[[Step], None] | None = None
    journal: Journal | None = None
    pieces: DecodePieces = WHOLE
    enhanced_prompt: str | None = None
    seconds: float | None = None
    features: Mapping[str, Features] = field(default_factory=dict)
    picture_latents: tuple[tuple[FloatArray, ...], ...] = ()
    sound_latents: Mapping[int, FloatArray] = field(default_factory=dict)
    video_latent: FloatArray | None = None
    audio_latent: FloatArray | None = None
    kept_audio_latent: FloatArray | None = None
    smaller_latent: FloatArray | None = None
    keyframe_latents: FloatArray | None = None
    anchors: Mapping[int, FloatArray] = field(default_factory=dict)
    parts: tuple[FloatArray, ...] = ()
    saved_calls: int | None = None
    sound: Audio | None = None
    pictures: Iterator[FrameArray] | None = None

    def context(self, prompt: str | PromptEmbedding) -> PromptEmbedding:
        """Return the contexts of a prompt that is given as text or encoded."""
        return self.contexts[prompt] if isinstance(prompt, str) else prompt


class Phase(ABC):
    """One part of a generation, with one component of the model.

    A phase is made from the plan alone; it is checked, asked for its needs, or run.

    Attributes:
        name: as the observer hears it.
        component: the component whose weights it loads; its phases share them.
        part: what that component belongs to, which decides where it computes.
        is_deferred: whether it waits until its result is asked for.
        makes_latents: whether it turns the latents of the phases before it into new ones, so that
            a journal that has these needs none of the phases up to it.
    """

    name: str
    component: str
    part: Part
    is_deferred = False
    makes_latents = False

    def __init__(self, plan: Plan, networks: Networks) -> None:
        self._plan, self._networks = plan, networks

    @property
    def device(self) -> str:
        """Name of the device that computes it."""
        return self._networks.backend.devices[self.part].name

    @property
    def shared_with(self) -> tuple[str, ...]:
        """Names of the devices of other processes that compute a part of it."""
        return ()

    @property
    @abstractmethod
    def is_needed(self) -> bool:
        """Whether the plan has anything for it to do."""

    @property
    def units(self) -> int | None:
        """How many parts it counts its progress in, None for one."""
        return None

    @property
    @abstractmethod
    def weights(self) -> tuple[Component | None, ...]:
        """The components of the model files that it reads; None where the files lack one."""

    @abstractmethod
    def check(self) -> None:
        """Raise for everything that the phase would refuse, before anything computes."""

    @abstractmethod
    def needs(self, pieces: DecodePieces) -> PhaseNeeds:
        """Return what it takes, asked of the networks' graphs; nothing is loaded.

        Args:
            pieces: how the video decoder takes the clip apart; changes nothing elsewhere.
        """

    @abstractmethod
    def open(self) -> None:
        """Load the weights."""

    @abstractmethod
    def run(self, state: State) -> State:
        """Compute, and return what is there now."""

    @abstractmethod
    def release(self) -> None:
        """Free the weights."""

    @property
    def decode_sizes(self) -> Sequence[DecodePieces]:
        """Pieces that it may decode a clip in, the largest first."""
        return (WHOLE,)

    @property
    def cut_by_memory(self) -> bool:
        """Whether the memory of the machine decides over these pieces, a limit or not."""
        return False

    def _report(self, done: int) -> None:
        """Tell the observer how many units are finished."""
        units = self.units
        assert units is not None
        self._networks.backend.observer.phase_progress(self.name, done, units)
