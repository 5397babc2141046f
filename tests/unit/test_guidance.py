"""Guidance formula, passes, and the loop that evaluates them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import audio_positions, video_positions
from ltx2cpp.observing import Step
from ltx2cpp.options import BinnedGuidance, Guidance, ModalityGuidance
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.denoising import denoise, in_turn
from ltx2cpp.sampling.guidance import Pass, combine, passes_needed
from ltx2cpp.sampling.schedulers import distilled_sigmas, ltx2_sigmas
from ltx2cpp.values import FloatArray, Modality, PromptEmbedding, Velocity

FULL = ModalityGuidance(cfg=3.0, stg=1.0, modality=2.0, rescale=0.7)


def estimates(seed: int = 0) -> dict[Pass, FloatArray]:
    random = np.random.default_rng(seed)
    return {kind: random.standard_normal((6, 4), np.float32) for kind in Pass}


def test_guidance_off_needs_one_pass_and_returns_it() -> None:
    assert passes_needed([ModalityGuidance()]) == [Pass.CONDITIONAL]
    given = estimates()
    assert combine(given, ModalityGuidance()) is given[Pass.CONDITIONAL]


def test_each_strength_adds_its_pass_in_order() -> None:
    off = ModalityGuidance()
    assert passes_needed([off, ModalityGuidance(cfg=7.0)]) == [Pass.CONDITIONAL, Pass.UNCONDITIONAL]
    assert passes_needed([ModalityGuidance(stg=1.0), off]) == [Pass.CONDITIONAL, Pass.PERTURBED]
    assert passes_needed([off, ModalityGuidance(modality=3)]) == [Pass.CONDITIONAL, Pass.ISOLATED]
    assert passes_needed([FULL, off]) == list(Pass)


def test_one_stream_alone_is_never_isolated() -> None:
    assert Pass.ISOLATED not in passes_needed([FULL], both_present=False)


def test_combine_is_the_formula() -> None:
    given = estimates()
    c, u, s, n = (given[kind].astype(np.float64) for kind in Pass)
    want = c + 2.0 * (c - u) + 1.0 * (c - s) + 1.0 * (c - n)
    factor = 0.7 * c.std(ddof=1) / want.std(ddof=1) + 0.3
    np.testing.assert_allclose(combine(given, FULL), want * factor, rtol=1e-5, atol=1e-6)


def test_full_rescale_restores_the_deviation() -> None:
    given = estimates()
    result = combine(given, ModalityGuidance(cfg=9.0, rescale=1.0))
    assert result.std(ddof=1) == pytest.approx(given[Pass.CONDITIONAL].std(ddof=1), rel=1e-5)


def test_rescale_of_a_constant_estimate_is_finite() -> None:
    flat = {kind: np.zeros((2, 2), np.float32) for kind in Pass}
    np.testing.assert_array_equal(combine(flat, FULL), 0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cfg": float("nan")}, "cfg"),
        ({"stg": float("inf")}, "stg"),
        ({"cfg": 10**400}, "cfg"),
        ({"modality": 1000.0}, "modality"),
        ({"rescale": 1.5}, "rescale"),
        ({"rescale": -0.1}, "rescale"),
        ({"skip_step": -1}, "skip_step"),
    ],
)
def test_strengths_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"guidance {message}: expected"):
        ModalityGuidance(**values)


def test_stg_without_blocks_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no block is named"):
        Guidance(video=ModalityGuidance(stg=1.0))


class Recorder:
    """A network that answers with fixed velocities and keeps what it was asked."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self,
        video: Modality | None,
        audio: Modality | None,
        *,
        stg_blocks: tuple[int, ...] = (),
        isolate: bool = False,
    ) -> Velocity:
        self.calls.append(
            {"video": video, "audio": audio, "stg_blocks": stg_blocks, "isolate": isolate}
        )
        answers = [
            None if stream is None else stream.latent - stream.context[0, 0]
            for stream in (video, audio)
        ]
        return Velocity(video=answers[0], audio=answers[1])


def prompt(value: float) -> PromptEmbedding:
    return PromptEmbedding(np.full((4, 2), value), np.full((4, 2), value))


def starts() -> tuple[LatentState, LatentState]:
    random = np.random.default_rng(3)
    video = LatentState.empty(6, 4, video_positions(3, 1, 2, 24.0))
    audio = LatentState.empty(5, 2, audio_positions(5))
    return (
        video.noised(random.standard_normal((6, 4), np.float32)),
        audio.noised(random.standard_normal((5, 2), np.float32)),
    )


def test_unguided_loop_calls_once_a_step_with_the_levels() -> None:
    network, steps = Recorder(), list[Step]()
    sigmas = distilled_sigmas()
    denoise(
        in_turn(network),
        *starts(),
        prompt(0.0),
        None,
        sigmas=sigmas,
        guidance=Guidance(),
        on_step=steps.append,
    )
    assert [call["video"].sigma for call in network.calls] == [float(s) for s in sigmas[:-1]]
    assert all(call["audio"].sigma == call["video"].sigma for call in network.calls)
    assert [(step.index, step.total) for step in steps] == [(i + 1, 8) for i in range(8)]
    assert steps[5].sigma == float(sigmas[5])


def test_velocity_towards_zero_arrives_there() -> None:
    # v = x at every level means x0 = x - t x; one step from sigma 1 lands on 0.
    video, audio = denoise(
        in_turn(Recorder()),
        *starts(),
        prompt(0.0),
        None,
        sigmas=np.float32([1.0, 0.0]),
        guidance=Guidance(),
    )
    np.testing.assert_array_equal(video.latent, 0.0)
    assert audio is not None
    np.testing.assert_array_equal(audio.latent, 0.0)


def test_guided_loop_runs_the_passes_with_their_switches() -> None:
    network = Recorder()
    denoise(
        in_turn(network),
        *starts(),
        prompt(0.0),
        prompt(5.0),
        sigmas=ltx2_sigmas(2),
        guidance=Guidance(FULL, FULL, stg_blocks=(1, 3)),
    )
    assert len(network.calls) == 8
    conditional, unconditional, perturbed, isolated = network.calls[:4]
    assert conditional["video"].context[0, 0] == 0.0
    assert unconditional["video"].context[0, 0] == 5.0
    assert unconditional["audio"].context[0, 0] == 5.0
    assert [call["stg_blocks"] for call in network.calls[:4]] == [(), (), (1, 3), ()]
    assert [call["isolate"] for call in network.calls[:4]] == [False, False, False, True]
    assert perturbed["video"].context[0, 0] == isolated["video"].context[0, 0] == 0.0


def test_skipped_steps_reuse_the_last_estimate() -> None:
    network = Recorder()
    skipping = ModalityGuidance(skip_step=1)
    denoise(
        in_turn(network),
        *starts(),
        prompt(0.0),
        None,
        sigmas=ltx2_sigmas(4),
        guidance=Guidance(skipping, skipping),
    )
    assert len(network.calls) == 2
    one_skips = Recorder()
    denoise(
        in_turn(one_skips),
        *starts(),
        prompt(0.0),
        None,
        sigmas=ltx2_sigmas(4),
        guidance=Guidance(ModalityGuidance(), skipping),
    )
    assert len(one_skips.calls) == 4


def test_video_alone_passes_no_audio() -> None:
    network = Recorder()
    video, audio = denoise(
        in_turn(network),
        starts()[0],
        None,
        prompt(0.0),
        prompt(1.0),
        sigmas=ltx2_sigmas(2),
        guidance=Guidance(FULL, FULL, stg_blocks=(0,)),
    )
    assert audio is None
    assert video.latent.shape == (6, 4)
    assert all(call["audio"] is None for call in network.calls)
    assert len(network.calls) == 6


def test_held_tokens_stay_and_are_told_to_the_network() -> None:
    network = Recorder()
    video, audio = starts()
    image = np.full((2, 4), 7.0, np.float32)
    held = LatentState.empty(6, 4, video.positions).hold_frames(image, 0).noised(video.latent)
    result, _ = denoise(
        in_turn(network),
        held,
        audio,
        prompt(0.0),
        None,
        sigmas=distilled_sigmas(),
        guidance=Guidance(),
    )
    np.testing.assert_array_equal(result.latent[:2], 7.0)
    assert (
        network.calls[3]["video"].timesteps.tolist()
        == [0.0, 0.0] + [float(distilled_sigmas()[3])] * 4
    )
    assert network.calls[3]["video"].sigma == float(distilled_sigmas()[3])


def test_frozen_stream_has_level_zero() -> None:
    network = Recorder()
    video, audio = starts()
    frozen = LatentState.empty(5, 2, audio.positions).hold_frames(audio.latent, 0)
    frozen = frozen.noised(np.zeros((5, 2), np.float32), noise_scale=0.0)
    _, after = denoise(
        in_turn(network),
        video,
        frozen,
        prompt(0.0),
        None,
        sigmas=ltx2_sigmas(3),
        guidance=Guidance(),
    )
    assert after is not None
    np.testing.assert_array_equal(after.latent, audio.latent)
    assert all(call["audio"].sigma == 0.0 for call in network.calls)


def test_what_a_callback_raises_ends_the_loop() -> None:
    network = Recorder()

    def stop(step: Step) -> None:
        if step.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise(
            in_turn(network),
            *starts(),
            prompt(0.0),
            None,
            sigmas=distilled_sigmas(),
            guidance=Guidance(),
            on_step=stop,
        )
    assert len(network.calls) == 2


OFF = ModalityGuidance()
CFG, STG, ISOLATION = (
    ModalityGuidance(cfg=3.0),
    ModalityGuidance(stg=1.0),
    ModalityGuidance(modality=3.0),
)


@pytest.mark.parametrize(
    ("video", "audio", "per_step"),
    [
        (OFF, OFF, 1),
        (ModalityGuidance(rescale=0.7), OFF, 1),
        (CFG, OFF, 2),
        (OFF, CFG, 2),
        (CFG, CFG, 2),
        (STG, OFF, 2),
        (ISOLATION, OFF, 2),
        (CFG, STG, 3),
        (CFG, ISOLATION, 3),
        (FULL, OFF, 4),
        (FULL, FULL, 4),
    ],
)
@pytest.mark.parametrize(
    ("sampler", "estimates"),
    [("euler", 5), ("gradient_estimation", 5), ("euler_ancestral", 5), ("res_2s", 11)],
)
def test_only_the_calls_that_are_needed_are_made(
    video: ModalityGuidance, audio: ModalityGuidance, per_step: int, sampler: str, estimates: int
) -> None:
    network, steps = Recorder(), list[Step]()
    denoise(
        in_turn(network),
        *starts(),
        prompt(0.0),
        prompt(5.0),
        sigmas=ltx2_sigmas(5),
        guidance=Guidance(video, audio, stg_blocks=(1,)),
        sampler=SamplerChoice(sampler).factory(),
        on_step=steps.append,
    )
    assert len(network.calls) == per_step * estimates
    assert [step.index for step in steps] == [1, 2, 3, 4, 5]
    assert [step.sigma for step in steps] == [float(s) for s in ltx2_sigmas(5)[:-1]]


def test_binned_guidance_changes_with_the_level() -> None:
    network = Recorder()
    binned = BinnedGuidance(((1.0, FULL), (0.5, CFG), (0.3, OFF)))
    levels = (1.0, 0.51, 0.5, 0.31, 0.3, 0.01)
    assert [binned.at(level) for level in levels] == [FULL, FULL, CFG, CFG, OFF, OFF]
    denoise(
        in_turn(network),
        *starts(),
        prompt(0.0),
        prompt(5.0),
        sigmas=np.float32([1.0, 0.6, 0.4, 0.2, 0.0]),
        guidance=Guidance(binned, OFF, stg_blocks=(1,)),
    )
    assert len(network.calls) == 4 + 4 + 2 + 1


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        ((), r"in 0\.\.1"),
        (((1.5, OFF),), r"in 0\.\.1"),
        (((0.5, OFF), (0.5, OFF)), "descending"),
        (((0.5, OFF), (1.0, OFF)), "descending"),
    ],
)
def test_bins_are_checked(bins: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        BinnedGuidance(bins)


def test_stg_in_a_bin_needs_blocks() -> None:
    with pytest.raises(ArgumentError, match="no block is named"):
        Guidance(BinnedGuidance(((1.0, OFF), (0.5, STG))))
