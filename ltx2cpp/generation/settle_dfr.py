"""The DFR pipeline settled: a clip refined with keyframes, then rounds that double its rate.

A first stage at half size generates keyframes with the clip, a second one at full size refines
both. A temporal round brings the clip to twice the frame rate and denoises it tile by tile, held to
the keyframes so far, with new ones halfway between them.

Source: Lightricks LTX-2, ltx_pipelines DFR pipeline of release 1.2.0.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import replace

import numpy as np

from ltx2cpp.conditioning import Condition, ImageCondition
from ltx2cpp.conditioning.placement import Kind, Placement, Placements
from ltx2cpp.conditioning.slots import Anchors, Slots
from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.dfr_layout import dfr_canvas, tiles_of
from ltx2cpp.generation.pipelines import PipelineSpec
from ltx2cpp.generation.plan import ModelDefaults, RoundTile, Stage
from ltx2cpp.generation.request import GenerationArguments
from ltx2cpp.generation.settle_keyframes import check_keyframes_embedding
from ltx2cpp.generation.settle_sampling import settled_sampling
from ltx2cpp.latents import ClipShape
from ltx2cpp.numeric import whole_number
from ltx2cpp.options import Guidance, LoraSpec
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.schedulers import DFR_ROUND_SIGMAS

MAX_ROUNDS = 2
# How much smaller the clip of the first stage is, each way.
_HALF = 2
_ANCHOR_STRENGTH = 0.95
_ROUND_ETA = 0.5
# The model was not trained for positions of faster clips; those play at their own rate.
_MAX_CONDITIONING_RATE = 60.0
_SEED_STEP = 1000
_SEEDS = 2**64


def check_refinement(
    arguments: GenerationArguments,
    pipeline: PipelineSpec,
    model: ModelDefaults,
    conditions: Sequence[Condition],
    *,
    video: bool,
) -> None:
    """Raise where the arguments of the DFR pipeline and others do not go together.

    Args:
        arguments: as given.
        pipeline: the pipeline that runs.
        model: tells whether it was trained for keyframes.
        conditions: all of them.
        video: whether there are pictures.

    Raises:
        ArgumentError: the first thing that stands against it.
    """
    rounds = whole_number("temporal_rounds", arguments.get("temporal_rounds", 0))
    if not 0 <= rounds <= MAX_ROUNDS:
        raise ArgumentError(f"temporal_rounds: expected 0 to {MAX_ROUNDS}, found {rounds}")
    detail = arguments.get("detail_reference")
    if detail is not None and not isinstance(detail, bool):
        raise ArgumentError(f"detail_reference: expected True, False or None, found {detail!r:.60}")
    if not pipeline.refines:
        unfit = {"temporal_rounds": rounds > 0, "detail_reference": detail is not None}
        for name, is_given in unfit.items():
            if is_given:
                raise ArgumentError(f"{name}: belongs to the pipeline dfr (--pipeline dfr)")
        return
    check_keyframes_embedding(f"pipeline: {pipeline.name}", model)
    excluded = {
        "video=False": not video,
        "generated_keyframes, of which it has its own": _asks_for_keyframes(arguments),
        "audio_condition": arguments.get("audio_condition") is not None,
        "temporal_upscale; give temporal_rounds": arguments.get("temporal_upscale", False),
    }
    for other, contradicts in excluded.items():
        if contradicts:
            raise ArgumentError(f"pipeline: {pipeline.name} does not go with {other}")
    for each in conditions:
        if not isinstance(each, ImageCondition):
            raise ArgumentError(
                f"pipeline: {pipeline.name} takes pictures alone, found {type(each).__name__}"
            )


def padded_shape(shape: ClipShape) -> ClipShape:
    """Return the shape of the clip that is generated: whole segments.

    Raises:
        ArgumentError: a single frame, or too long with what is added.
    """
    frames, segment, _ = dfr_canvas(shape.num_frames)
    try:
        return replace(shape, num_frames=frames)
    except ArgumentError as error:
        raise ArgumentError(
            f"num_frames: the pipeline dfr fills {shape.num_frames} frames up to {frames}, whole "
            f"segments of {segment}, which is too long; {error}"
        ) from error


def padded_slots(shape: ClipShape) -> Slots:
    """Return where the keyframes of a padded clip stand."""
    return Slots(tuple(dfr_canvas(shape.num_frames)[2]))


def refining_stages(
    arguments: GenerationArguments,
    model: ModelDefaults,
    first: Stage,
    second: Stage,
    round_loras: tuple[LoraSpec, ...],
) -> tuple[Stage, ...]:
    """Return both stages and the tiles of all temporal rounds.

    Args:
        arguments: as given, checked.
        model: what is known of it.
        first, second: settled as those of other pipelines.
        round_loras: LoRAs of the temporal rounds.

    Raises:
        ArgumentError: the detailing LoRA wants another reference, or a tile is too long.
    """
    slots = first.placements.slots
    assert slots is not None
    placements = replace(
        second.placements, slots=slots, own_reference=_reference_factor(arguments, model)
    )
    second = replace(second, placements=placements)
    stages = [first, second]
    clip, seams = second.shape, slots.frames
    for number in range(1, arguments.get("temporal_rounds", 0) + 1):
        clip = clip.doubled()
        seams = tuple(2 * seam for seam in seams)
        tiles = tiles_of(seams, clip.num_frames, 2**number)
        for index, layout in enumerate(tiles):
            tile = RoundTile(number, index, layout, clip)
            stages.append(_tile_stage(arguments, second, first.sampler, tile, round_loras))
        seams = tuple(sorted({*seams, *(slot for tile in tiles for slot in tile.slot_kf_global)}))
    return tuple(stages)


def _asks_for_keyframes(arguments: GenerationArguments) -> bool:
    keyframes = arguments.get("generated_keyframes", 0)
    return len(keyframes) > 0 if isinstance(keyframes, Sized) else keyframes != 0


def _reference_factor(arguments: GenerationArguments, model: ModelDefaults) -> int | None:
    """Return how many times smaller the reference of the second stage is, None without one."""
    detail, (downscale, slowdown) = arguments.get("detail_reference"), model.reference_factors
    if detail is None:
        detail = bool(model.reference_loras)
    if not detail:
        return None
    if (downscale, slowdown) not in ((1, 1), (_HALF, 1)):
        raise ArgumentError(
            f"loras: {model.reference_loras[0].path} wants references {downscale} times smaller "
            f"and {slowdown} times slower; the pipeline dfr shows its own clip at half size, so "
            "give a LoRA for details at twice the size, or detail_reference=False"
        )
    return _HALF


def _tile_stage(
    arguments: GenerationArguments,
    second: Stage,
    sampler: SamplerChoice,
    tile: RoundTile,
    loras: tuple[LoraSpec, ...],
) -> Stage:
    layout, eta = tile.layout, settled_sampling(arguments).eta
    try:
        shape = replace(
            second.shape,
            num_frames=layout.num_frames,
            frame_rate=min(tile.clip.frame_rate, _MAX_CONDITIONING_RATE),
        )
    except ArgumentError as error:
        raise ArgumentError(
            f"temporal_rounds: a tile of round {tile.number} is too long, give fewer frames or "
            f"rounds; {error}"
        ) from error
    seed = sampler.noise_seed + _SEED_STEP * tile.number + tile.index
    placements = Placements(
        _pictures(second.placements.items, tile),
        Anchors(layout.local(layout.anchor_kf_global), _ANCHOR_STRENGTH),
        Slots(layout.local(layout.slot_kf_global)),
    )
    return Stage(
        shape,
        np.array(DFR_ROUND_SIGMAS, np.float32),
        Guidance(),
        SamplerChoice("euler_ancestral", _ROUND_ETA if eta is None else eta, seed % _SEEDS),
        placements,
        loras=loras,
        tile=tile,
    )


def _pictures(items: Sequence[Placement], tile: RoundTile) -> tuple[Placement, ...]:
    """Return the pictures of a tile at their frames in it: the first tile has all of them.

    A picture keeps its moment, so its frame doubles with the frame rate.
    """
    layout, times = tile.layout, 2**tile.number
    moved = [replace(item, frame=times * item.frame - layout.pixel_start) for item in items]
    if tile.index == 0:
        return tuple(moved)
    inside = [item for item in moved if 0 <= item.frame < layout.num_frames]
    # At the first frame of a tile it is held, as at that of any clip.
    return tuple(
        sorted(
            (replace(item, kind=Kind.KEYFRAME if item.frame else Kind.HOLD) for item in inside),
            key=lambda item: item.frame > 0,
        )
    )
