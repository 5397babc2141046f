"""The denoising loop: noise levels in, clean latents out. Knows no device and no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from ltx2cpp.conditioning import LatentState
from ltx2cpp.guidance import Pass, combine, passes_needed
from ltx2cpp.options import Guidance, ModalityGuidance
from ltx2cpp.samplers import denoised_from_velocity, make_sampler
from ltx2cpp.types import FloatArray, Modality, PromptEmbedding, Step, Velocity


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


@dataclass
class _Stream:
    """One modality inside the loop: its state and how to read it from a call's arguments."""

    name: str  # "video" or "audio"
    state: LatentState
    strengths: ModalityGuidance
    last: FloatArray | None = None

    def modality(self, prompt: PromptEmbedding, sigma: float) -> Modality:
        held = not self.state.mask.any()
        return Modality(
            latent=self.state.latent,
            context=getattr(prompt, self.name),
            sigma=0.0 if held else sigma,
            timesteps=self.state.timesteps(sigma),
            positions=self.state.positions,
        )

    def evaluated_at(self, index: int) -> bool:
        return index % (self.strengths.skip_step + 1) == 0


def denoise(
    velocity: VelocityCall,
    video: LatentState,
    audio: LatentState | None,
    prompt: PromptEmbedding,
    negative: PromptEmbedding | None,
    *,
    sigmas: FloatArray,
    guidance: Guidance,
    sampler: str = "euler",
    on_step: Callable[[Step], None] | None = None,
) -> tuple[LatentState, LatentState | None]:
    """Walk both streams down the noise levels.

    Args:
        velocity: the network.
        video: starting state, noise included.
        audio: the same, or None to run the video stream alone.
        prompt: contexts of the prompt.
        negative: contexts of the negative prompt; needed when ``guidance`` uses cfg.
        sigmas: (steps + 1,), descending, 0 at the end.
        guidance: strengths per stream.
        sampler: name in `ltx2cpp.samplers.SAMPLERS`.
        on_step: called after each step; what it raises ends the loop and reaches the caller.

    Returns:
        The final states of both streams, appended condition tokens still in place.
    """
    streams = [_Stream("video", video, guidance.video)]
    if audio is not None:
        streams.append(_Stream("audio", audio, guidance.audio))
    samplers = {stream.name: make_sampler(sampler) for stream in streams}
    total = len(sigmas) - 1
    for index in range(total):
        sigma, sigma_next = float(sigmas[index]), float(sigmas[index + 1])
        due = [stream for stream in streams if stream.evaluated_at(index)]
        if due:
            _estimate(velocity, streams, due, prompt, negative, sigma, guidance)
        for stream in streams:
            assert stream.last is not None  # step 0 evaluates every stream
            latent = samplers[stream.name].step(stream.state, stream.last, sigma, sigma_next)
            stream.state = replace(stream.state, latent=latent)
        if on_step is not None:
            on_step(Step(index=index + 1, total=total, sigma=sigma))
    return streams[0].state, streams[1].state if audio is not None else None


def _estimate(
    velocity: VelocityCall,
    streams: list[_Stream],
    due: list[_Stream],
    prompt: PromptEmbedding,
    negative: PromptEmbedding | None,
    sigma: float,
    guidance: Guidance,
) -> None:
    """Set ``last`` of the due streams to the guided and blended estimate at ``sigma``."""
    estimates: dict[str, dict[Pass, FloatArray]] = {stream.name: {} for stream in due}
    for kind in passes_needed((s.strengths for s in due), both_present=len(streams) > 1):
        context = prompt
        if kind is Pass.UNCONDITIONAL:
            assert negative is not None
            context = negative
        inputs = {stream.name: stream.modality(context, sigma) for stream in streams}
        result = velocity(
            inputs["video"],
            inputs.get("audio"),
            stg_blocks=guidance.stg_blocks if kind is Pass.PERTURBED else (),
            isolate=kind is Pass.ISOLATED,
        )
        for stream in due:
            flow = result.video if stream.name == "video" else result.audio
            assert flow is not None
            estimates[stream.name][kind] = denoised_from_velocity(
                stream.state.latent, flow, inputs[stream.name].timesteps
            )
    for stream in due:
        stream.last = stream.state.blend(combine(estimates[stream.name], stream.strengths))
