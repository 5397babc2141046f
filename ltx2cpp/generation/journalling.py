"""A generation and its journal: what decides the latents, and what is still to be computed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.describe import describe, package_version
from ltx2cpp.generation.phases import Phase, State, phases_of
from ltx2cpp.generation.phases.denoise import Denoise
from ltx2cpp.generation.plan import Plan
from ltx2cpp.generation.request import GenerationArguments, asks_for_enhancement
from ltx2cpp.journal import Field, Journal, KeptLatents, flattened, read_request
from ltx2cpp.model.identity import weights_identity
from ltx2cpp.networks.networks import Networks
from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.values import PromptEmbedding

# Fields of a plan and its parts that do not decide the latents: names for messages, media as the
# caller gave them (their contents are in the placements), LoRAs by path (their contents are among
# the weights), and what is done when the latents are decoded.
_LEFT_OUT = frozenset(
    {
        *("Plan.pipeline", "Plan.preset", "Plan.model", "Plan.conditions", "Plan.audio_condition"),
        *("Plan.decodes", "Plan.decoder", "Plan.decoder_seed", "Plan.finish"),
        *("Placement.name", "Stage.loras"),
    }
)


def open_journal(folder: str | os.PathLike[str], plan: Plan, networks: Networks) -> Journal:
    """Open the journal of a generation in a folder, or begin it there.

    Raises:
        ArgumentError: the folder holds that of another one.
        OutputError: the folder cannot be written.
    """
    return Journal(folder, _deciding(plan, networks), describe(plan))


def with_kept(
    prompt: str | PromptEmbedding, arguments: GenerationArguments, folder: str | os.PathLike[str]
) -> GenerationArguments:
    """Return arguments with what the journal in a folder has of them.

    These are the seed, where they name none, and what was made of the same prompt, where it is to
    be written out: another machine might write other words.
    """
    request = read_request(folder)
    if request is None:
        return arguments
    seed, written = request.get("seed"), request.get("enhanced_prompt")
    names_seed = arguments.get("seed") is not None or "noise" in arguments
    if isinstance(seed, int) and not names_seed:
        arguments = {**arguments, "seed": seed}
    is_kept = isinstance(written, str) and request.get("prompt") == prompt
    if is_kept and asks_for_enhancement(arguments):
        arguments = {**arguments, "enhanced_prompt": written}
    return arguments


def remaining(phases: Sequence[Phase], journal: Journal) -> list[Phase]:
    """Return the phases that a journal leaves to do, in their order.

    Raises:
        ArgumentError: it names a phase that the generation does not have.
    """
    latents = journal.latents
    if latents is None:
        return list(phases)
    names = [phase.name for phase in phases]
    if latents.phase not in names:
        raise ArgumentError(
            f"journal: holds latents of {latents.phase!r}, expected those of one of "
            f"{', '.join(names)}; give another folder"
        )
    after = phases[names.index(latents.phase) + 1 :]
    if not any(isinstance(phase, Denoise) for phase in after):
        return list(after)
    # Prompts, pictures and sounds are there for all stages.
    given = [phase for phase in phases if not (phase.makes_latents or phase.is_deferred)]
    return [*given, *(phase for phase in after if phase not in given)]


def resumed(state: State, plan: Plan, journal: Journal) -> State:
    """Return a state with what a journal has of it."""
    state = replace(state, journal=journal)
    latents = journal.latents
    if latents is None:
        return state
    arrays = latents.arrays
    parts = sorted(name for name in arrays if name.startswith("parts."))
    return replace(
        state,
        noise=None if plan.seed is None else NoiseSource(plan.seed, latents.drawn),
        anchors={
            int(name.removeprefix("anchors.")): array
            for name, array in arrays.items()
            if name.startswith("anchors.")
        },
        parts=tuple(arrays[name] for name in parts),
        video_latent=arrays.get("video_latent"),
        audio_latent=arrays.get("audio_latent"),
        kept_audio_latent=arrays.get("kept_audio_latent"),
        smaller_latent=arrays.get("smaller_latent"),
        keyframe_latents=arrays.get("keyframe_latents"),
    )


def keep_latents(state: State, phase: str) -> None:
    """Keep what the phases up to one have made, where there is a journal."""
    if state.journal is None:
        return
    kept = {
        "video_latent": state.video_latent,
        "audio_latent": state.audio_latent,
        "kept_audio_latent": state.kept_audio_latent,
        "smaller_latent": state.smaller_latent,
        "keyframe_latents": state.keyframe_latents,
    }
    kept |= {f"anchors.{frame}": array for frame, array in state.anchors.items()}
    # With leading zeros they sort as they count.
    kept |= {f"parts.{index:04}": array for index, array in enumerate(state.parts)}
    drawn = 0 if state.noise is None else state.noise.position
    arrays = {name: array for name, array in kept.items() if array is not None}
    state.journal.keep_latents(KeptLatents(phase, arrays, drawn))


def _deciding(plan: Plan, networks: Networks) -> Mapping[str, Field]:
    """Return all that decides the latents of a generation, by names that a refusal can use."""
    weights: dict[str, Field] = {}
    for phase in phases_of(plan, networks, known=()):
        if phase.is_deferred:
            continue
        components = {str(i): part for i, part in enumerate(phase.weights) if part is not None}
        weights[f"weights of {phase.name}"] = weights_identity(components).hex()
    tokens: dict[str, Field] = {
        f"tokens of prompt {index}": hashlib.sha256(
            networks.prompt_encoder.ids(text).tobytes()
        ).hexdigest()
        for index, text in enumerate(plan.texts)
    }
    return {
        "ltx2cpp": package_version(),
        **networks.backend.arithmetic(),
        **flattened("", plan, _LEFT_OUT),
        **weights,
        **tokens,
    }
