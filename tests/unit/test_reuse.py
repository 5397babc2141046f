"""Forecasts between steps: the measure and both forecasts in float64, all samplers, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ltx2cpp import Guidance, Modality, PromptEmbedding, StepCache, Velocity
from ltx2cpp.conditioning import LatentState
from ltx2cpp.errors import ArgumentError
from ltx2cpp.latents import audio_positions, video_positions
from ltx2cpp.options import CACHE_MODES, CacheMode
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.denoising import denoise, in_turn
from ltx2cpp.sampling.reuse import Reuse
from ltx2cpp.sampling.samplers import SAMPLERS
from ltx2cpp.sampling.schedulers import ltx2_sigmas

STEPS = 16
Doubles = NDArray[np.float64]


class CurvedNetwork:
    """Velocities that bend with latent, level and prompt; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, video: Modality | None, audio: Modality | None, **_options: Any) -> Velocity:
        self.calls += 1
        return Velocity(*(None if each is None else _bent(each) for each in (video, audio)), {})


def _bent(each: Modality) -> NDArray[np.float32]:
    return np.tanh(each.latent * (1.0 + each.sigma) + each.context[0, 0])


def run(
    reuse: Reuse | None, sampler: str = "euler", hold: bool = False
) -> tuple[list[NDArray[np.float32]], int]:
    """Return both final latents of a guided run, and how often the network was called."""
    draw = np.random.default_rng(0)
    video = LatentState.empty(6, 4, video_positions(3, 1, 2, 24.0))
    if hold:
        video = video.hold_frames(np.full((2, 4), 7.0, np.float32), 0, strength=0.5)
    states = [
        state.noised(draw.standard_normal(state.latent.shape, np.float32))
        for state in (video, LatentState.empty(5, 2, audio_positions(5)))
    ]
    context = np.zeros((4, 3), np.float32)
    network = CurvedNetwork()
    finals = denoise(
        in_turn(network),
        *states,
        PromptEmbedding(context, context),
        PromptEmbedding(context + 1.0, context + 1.0),
        sigmas=ltx2_sigmas(STEPS),
        guidance=Guidance.from_scale(2.0),
        sampler=SamplerChoice(sampler).factory(),
        reuse=reuse,
    )
    return [final.latent for final in finals if final is not None], network.calls


def size(array: Doubles) -> float:
    return math.sqrt(float((array**2).mean()))


@pytest.mark.parametrize("mode", CACHE_MODES)
def test_forecasts_are_those_of_the_formulas(mode: CacheMode) -> None:
    threshold, draw = 0.03, np.random.default_rng(1)
    sigmas = ltx2_sigmas(STEPS)
    reuse = Reuse(StepCache(mode, threshold), sigmas)
    computed: list[tuple[float, Doubles, Doubles]] = []
    error, row, forecasts, before = 0.0, 0, 0, np.zeros(0)
    drift = draw.standard_normal((5, 3))
    for index, sigma in enumerate(map(float, sigmas[:-1])):
        latent = np.float32(drift * (1.0 + sigma))
        estimate = np.float32(drift * (2.0 - sigma**3))
        got = reuse.forecast(sigma, {"video": latent})
        expected = None
        share = 1.0 - float(sigmas[index + 1]) / sigma
        if len(computed) >= 3 and row < 2 and share < 1.0:
            (s_1, x_1, d_1), (s_2, x_2, d_2) = computed[-2:]
            rate = size(d_2 - d_1) / size(x_2 - x_1) / size(d_2)
            grown = error + rate * size(latent - before) * math.sqrt(share)
            if grown < threshold:
                line = d_2 + (sigma - s_2) / (s_2 - s_1) * (d_2 - d_1)
                error, expected = grown, line
        before = latent.astype(np.float64)
        assert (got is None) == (expected is None), index
        if expected is None:
            reuse.learn(sigma, {"video": latent}, {"video": estimate})
            computed.append((sigma, latent.astype(np.float64), estimate.astype(np.float64)))
            error, row = 0.0, 0
        else:
            assert got is not None
            np.testing.assert_allclose(got["video"], expected, rtol=2e-6, atol=1e-6)
            row, forecasts = row + 1, forecasts + 1
    assert 0 < forecasts == len(reuse.levels) < STEPS - 4


# Renewed noise moves latents and estimates further from step to step.
THRESHOLDS = {
    "euler": 0.03,
    "gradient_estimation": 0.03,
    "euler_ancestral": 0.3,
    "res_2s": 0.1,
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_saves_calls_and_ends_nearby(sampler: str) -> None:
    full, calls = run(None, sampler)
    for mode in CACHE_MODES:
        reuse = Reuse(StepCache(mode, THRESHOLDS[sampler]), ltx2_sigmas(STEPS))
        cached, fewer = run(reuse, sampler)
        # Two passes at each level that is not forecast.
        assert calls - fewer == 2 * len(reuse.levels) > 0.2 * calls
        for got, expected in zip(cached, full, strict=True):
            assert size(np.float64(got - expected)) < 0.1 * size(np.float64(expected))


@pytest.mark.parametrize("mode", CACHE_MODES)
def test_threshold_0_computes_all(mode: CacheMode) -> None:
    full, calls = run(None)
    cached, same = run(Reuse(StepCache(mode, 0.0), ltx2_sigmas(STEPS)))
    assert calls == same
    for got, expected in zip(cached, full, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", CACHE_MODES)
def test_partly_held_tokens_are_blended_once(mode: CacheMode) -> None:
    full, _ = run(None, hold=True)
    cached, _ = run(Reuse(StepCache(mode, 0.03), ltx2_sigmas(STEPS)), hold=True)
    assert size(np.float64(cached[0][:2] - full[0][:2])) < 0.05 * size(np.float64(full[0][:2]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepCache("teacache"), "step_cache: expected mode taylorseer"),
        (lambda: StepCache("taylorseer", 2.0), "step_cache: expected a threshold of 0 to 1"),
        (lambda: StepCache("taylorseer", math.nan), "step_cache: expected a threshold of 0 to 1"),
        (lambda: StepCache("taylorseer", "a"), "step_cache threshold: expected a number"),
    ],
)
def test_caches_that_are_none_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        make()


def test_a_given_stream_does_not_keep_the_other_from_being_forecast() -> None:
    reuse = Reuse(StepCache("taylorseer", 0.5), ltx2_sigmas(4))
    still = np.zeros((2, 2), np.float32)
    for sigma in map(float, ltx2_sigmas(4)[:3]):
        moving = np.full((2, 2), sigma, np.float32)
        streams = {"video": moving, "audio": still}
        reuse.learn(sigma, streams, {"video": moving, "audio": still})
    assert reuse.forecast(0.5, {"video": moving, "audio": still}) is not None
