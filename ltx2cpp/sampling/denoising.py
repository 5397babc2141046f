"""The denoising loop: noise levels in, clean latents out. Knows no device and no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ltx2cpp.conditioning import LatentState
from ltx2cpp.observing import Step
from ltx2cpp.options import BinnedGuidance, Guidance, ModalityGuidance
from ltx2cpp.sampling.guidance import Call, Pass, combine, passes_needed
from ltx2cpp.sampling.reuse import Reuse
from ltx2cpp.sampling.samplers import EulerSampler, Query, Sampler, Walk, denoised_from_velocity
from ltx2cpp.values import FloatArray, Modality, PromptEmbedding, Velocity


class VelocityCall(Protocol):
    """One transformer call, as `LTX2Pipeline.velocity`."""

    def __call__(
        self,
        video: Modality | None,
        audio: Modality | None,
        *,
        stg_blocks: tuple[int, ...] = (),
        isolate: bool = False,
    ) -> Velocity: ...


# Answers the passes of one estimate, in their order.
Velocities = Callable[[Sequence[Call]], Sequence[Velocity]]


def in_turn(velocity: VelocityCall) -> Velocities:
    """Return what calls the transformer for one pass after the other."""
    return lambda calls: [
        velocity(call.video, call.audio, stg_blocks=call.stg_blocks, isolate=call.isolate)
        for call in calls
    ]


class Answers(Protocol):
    """The estimates of one run in their order, as the samplers are sent them.

    They are all that a sampler depends on, so a run that is given those of an earlier one is where
    that one was.
    """

    def recall(self, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, FloatArray] | None:
        """Return the next ones that are known, for the streams of these shapes, or None."""
        ...

    def keep(self, estimates: Mapping[str, FloatArray]) -> None:
        """Take the next ones, computed now."""
        ...


@dataclass
class _Stream:
    """One modality inside the loop: its state, its sampler and its last estimate."""

    name: str  # "video" or "audio"
    state: LatentState
    guidance: ModalityGuidance | BinnedGuidance
    walk: Walk
    last: FloatArray | None = None

    def modality(self, prompt: PromptEmbedding, sigma: float) -> Modality:
        is_held = not self.state.mask.any()
        return Modality(
            latent=self.state.latent,
            context=getattr(prompt, self.name),
            sigma=0.0 if is_held else sigma,
            timesteps=self.state.timesteps(sigma),
            positions=self.state.positions,
            attention_mask=self.state.attention,
            keyframes_mask=self.state.keyframes,
        )

    def due(self, query: Query) -> bool:
        skipped = self.guidance.at(query.sigma).skip_step
        return self.last is None or query.index % (skipped + 1) == 0

    @property
    def estimate(self) -> FloatArray:
        """The last estimate, of which there is one after the first query."""
        assert self.last is not None
        return self.last

    def advance(self) -> Query | None:
        """Hand the sampler the last estimate; return what it wants next, None at the end."""
        try:
            query = next(self.walk) if self.last is None else self.walk.send(self.last)
        except StopIteration as stop:
            self.state = replace(self.state, latent=stop.value)
            return None
        self.state = replace(self.state, latent=query.latent)
        return query


def denoise(
    velocities: Velocities,
    video: LatentState | None,
    audio: LatentState | None,
    prompt: PromptEmbedding,
    negative: PromptEmbedding | None,
    *,
    sigmas: FloatArray,
    guidance: Guidance,
    sampler: Callable[[], Sampler] = EulerSampler,
    answers: Answers | None = None,
    reuse: Reuse | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> tuple[LatentState | None, LatentState | None]:
    """Walk both streams down the noise levels.

    Args:
        velocities: the network, asked for all passes of an estimate at once.
        video: starting state, noise included, or None to run the audio stream alone.
        audio: the same, or None to run the video stream alone.
        prompt: contexts of the prompt.
        negative: contexts of the negative prompt; needed when ``guidance`` uses cfg.
        sigmas: (steps + 1,), descending, 0 at the end.
        guidance: strengths per stream.
        sampler: makes the sampler of one stream; called for video first.
        answers: estimates that are known, and where new ones are kept; None knows and keeps none.
        reuse: forecasts estimates, which are then neither computed nor kept; None computes all. It
            does not go with ``skip_step``.
        on_step: called after each step, with the video's estimate in token layout, appended
            condition tokens in place; what it raises ends the loop and reaches the caller.

    Returns:
        The final states of both streams, appended condition tokens still in place.
    """
    states = {"video": video, "audio": audio}
    streams = [
        _Stream(name, state, getattr(guidance, name), sampler().walk(state, sigmas))
        for name, state in states.items()
        if state is not None
    ]
    total = len(sigmas) - 1
    query = _advance(streams)
    while query is not None:
        due = [stream for stream in streams if stream.due(query)]
        if due and not _forecast(reuse, streams, query):
            if not _recall(answers, due):
                _estimate(velocities, streams, due, prompt, negative, query.sigma, guidance)
                if answers is not None:
                    answers.keep({stream.name: stream.estimate for stream in due})
            if reuse is not None:
                estimates = {stream.name: stream.estimate for stream in streams}
                reuse.learn(query.sigma, _latents(streams), estimates)
        index = query.index
        query = _advance(streams)
        if on_step is not None and (query is None or query.index > index):
            estimate = next((each.estimate for each in streams if each.name == "video"), None)
            on_step(Step(index + 1, total, float(sigmas[index]), estimate))
    final = {stream.name: stream.state for stream in streams}
    return final.get("video"), final.get("audio")


def _advance(streams: list[_Stream]) -> Query | None:
    """Advance all streams, in order; their samplers ask for the same levels."""
    queries = [stream.advance() for stream in streams]
    return queries[0]


def _forecast(reuse: Reuse | None, streams: list[_Stream], query: Query) -> bool:
    """Set ``last`` of all streams to what is forecast; return whether it is."""
    known = None if reuse is None else reuse.forecast(query.sigma, _latents(streams))
    if known is None:
        return False
    _take(known, streams)
    return True


def _latents(streams: list[_Stream]) -> dict[str, FloatArray]:
    return {stream.name: stream.state.latent for stream in streams}


def _recall(answers: Answers | None, due: list[_Stream]) -> bool:
    """Set ``last`` of the due streams to what is known; return whether it is."""
    if answers is None:
        return False
    known = answers.recall({stream.name: stream.state.latent.shape for stream in due})
    if known is None:
        return False
    _take(known, due)
    return True


def _take(known: Mapping[str, FloatArray], streams: list[_Stream]) -> None:
    for stream in streams:
        stream.last = known[stream.name]


def _estimate(
    velocities: Velocities,
    streams: list[_Stream],
    due: list[_Stream],
    prompt: PromptEmbedding,
    negative: PromptEmbedding | None,
    sigma: float,
    guidance: Guidance,
) -> None:
    """Set ``last`` of the due streams to the guided and blended estimate at ``sigma``."""
    estimates: dict[str, dict[Pass, FloatArray]] = {stream.name: {} for stream in due}
    strengths = {stream.name: stream.guidance.at(sigma) for stream in due}
    kinds = passes_needed(strengths.values(), both_present=len(streams) > 1)
    calls = []
    for kind in kinds:
        context = prompt
        if kind is Pass.UNCONDITIONAL:
            assert negative is not None
            context = negative
        inputs = {stream.name: stream.modality(context, sigma) for stream in streams}
        stg_blocks = guidance.stg_blocks if kind is Pass.PERTURBED else ()
        isolate = kind is Pass.ISOLATED
        calls.append(Call(inputs.get("video"), inputs.get("audio"), stg_blocks, isolate))
    for kind, call, result in zip(kinds, calls, velocities(calls), strict=True):
        for stream in due:
            flow: FloatArray | None = getattr(result, stream.name)
            modality: Modality | None = getattr(call, stream.name)
            assert flow is not None and modality is not None
            estimates[stream.name][kind] = denoised_from_velocity(
                stream.state.latent, flow, modality.timesteps
            )
    for stream in due:
        stream.last = stream.state.blend(combine(estimates[stream.name], strengths[stream.name]))
