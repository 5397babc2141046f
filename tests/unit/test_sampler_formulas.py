"""Samplers with noise against the same formulas in float64, with injected noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import tolerances
from harness import compare
from numpy.typing import NDArray

from ltx2cpp.conditioning import LatentState
from ltx2cpp.latents import audio_positions
from ltx2cpp.sampling.choice import SamplerChoice
from ltx2cpp.sampling.noise import NoiseSource
from ltx2cpp.sampling.res2s import LAST_SIGMA, Res2sSampler, phi_1, phi_2
from ltx2cpp.sampling.samplers import AncestralSampler, GradientEstimationSampler, Sampler
from ltx2cpp.sampling.schedulers import distilled_sigmas, ltx2_sigmas

TOKENS, CHANNELS = 5, 3
SIGMAS = ltx2_sigmas(6)
Doubles = NDArray[np.float64]


def held_state() -> LatentState:
    """One token held, one half held, three generated."""
    random = np.random.default_rng(1)
    state = LatentState.empty(TOKENS, CHANNELS, audio_positions(TOKENS))
    mask = np.float32([0.0, 0.5, 1.0, 1.0, 1.0])
    clean = random.standard_normal((TOKENS, CHANNELS)).astype(np.float32) * (mask[:, None] < 1)
    state = replace(state, mask=mask, clean=clean)
    return state.noised(random.standard_normal((TOKENS, CHANNELS)).astype(np.float32))


def network(latent: Any, sigma: float) -> Doubles:
    """A clean estimate that depends on everything, in float64."""
    x = np.asarray(latent, np.float64)
    return np.tanh(x[::-1] * (0.5 + sigma)) + 0.3 * x


def blended(state: LatentState, estimate: Doubles) -> Doubles:
    mask = state.mask[:, None].astype(np.float64)
    return mask * estimate + (1 - mask) * state.clean.astype(np.float64)


class Draws:
    """Noise that can be read again."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self.drawn: list[Any] = []

    def __call__(self, shape: tuple[int, ...]) -> Any:
        self.drawn.append(self._random.standard_normal(shape).astype(np.float32))
        return self.drawn[-1]

    def again(self) -> Iterator[Doubles]:
        return iter([np.asarray(each, np.float64) for each in self.drawn])


def run(sampler: Sampler, state: LatentState, sigmas: Any) -> tuple[Any, int]:
    walk = sampler.walk(state, sigmas)
    query, calls = next(walk), 0
    while True:
        calls += 1
        assert query.latent.dtype == np.float32
        estimate = blended(state, network(query.latent, query.sigma)).astype(np.float32)
        try:
            query = walk.send(estimate)
        except StopIteration as stop:
            return stop.value, calls


def test_gradient_estimation_is_the_formula() -> None:
    state = held_state()
    x, last = state.latent.astype(np.float64), None
    for s, n in pairwise(map(float, SIGMAS)):
        d = blended(state, network(x, s))
        v = (x - d) / s
        used = v if last is None else 2.0 * (v - last) + last
        x, last = (d if n == 0 else x + used * (n - s)), v
    got, calls = run(GradientEstimationSampler(), state, SIGMAS)
    compare("latent", got, x, tolerances.SAMPLER_F32)
    assert calls == 6


@pytest.mark.parametrize("eta", [1.0, 0.5, 0.0])
def test_ancestral_is_the_formula(eta: float) -> None:
    state, draws = held_state(), Draws(3)
    sigmas = distilled_sigmas()
    got, calls = run(AncestralSampler(draws, eta), state, sigmas)
    assert calls == 8
    assert len(draws.drawn) == 7  # none at the last step
    noise, x = draws.again(), state.latent.astype(np.float64)
    for s, n in pairwise(map(float, sigmas)):
        d = blended(state, network(x, s))
        if n == 0:
            x = d
            break
        down = n * (1 + (n / s - 1) * eta)
        y = down / s * x + (1 - down / s) * d
        alpha, alpha_down = 1 - n, 1 - down
        c = math.sqrt(max(0.0, n**2 - down**2 * alpha**2 / alpha_down**2))
        x = blended(state, alpha / alpha_down * y + c * next(noise))
    compare("latent", got, x, tolerances.SAMPLER_F32)


def test_ancestral_without_renewal_is_euler() -> None:
    state = held_state()
    state = replace(state, mask=np.ones(TOKENS, np.float32))
    euler, _ = run(SamplerChoice("euler").factory()(), state, SIGMAS)
    got, _ = run(AncestralSampler(Draws(0), eta=0.0), state, SIGMAS)
    compare("latent", got, euler, tolerances.SAMPLER_F32)


def phi(order: int, z: float) -> float:
    """The defining integral of phi by Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    t = (nodes + 1) / 2
    return float(np.sum(weights / 2 * np.exp((1 - t) * z) * t ** (order - 1)))


@pytest.mark.parametrize("z", [-5.0, -1.0, -0.5000001, -0.4999999, -1e-3, -1e-9, 0.0, 1e-9, 0.4])
def test_phi_functions_are_exact_also_near_zero(z: float) -> None:
    assert phi_1(z) == pytest.approx(phi(1, z), rel=1e-13)
    assert phi_2(z) == pytest.approx(phi(2, z), rel=1e-13)


def inject(
    state: LatentState, anchor: Doubles, y: Doubles, s: float, t: float, eta: float, noise: Doubles
) -> Doubles:
    up = min(eta * t, 0.9999 * t)
    if up == 0:
        return y
    res = math.sqrt(t * t - up * up)
    ar = 1 - t + res
    e = (anchor - y) / (s - t)
    return blended(state, ar * (anchor - s * e + res / ar * e) + up * noise)


def unit(noise: Doubles) -> Doubles:
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return (noise - noise.mean()) / noise.std(ddof=1)


@pytest.mark.parametrize("eta", [0.5, 0.0, 1.0])
@pytest.mark.parametrize("sigmas", [SIGMAS, ltx2_sigmas(15), distilled_sigmas()], ids=len)
def test_res_2s_is_the_formula(eta: float, sigmas: Any) -> None:
    state, step_noise, inner_noise = held_state(), Draws(4), Draws(5)
    got, calls = run(Res2sSampler(step_noise, inner_noise, eta), state, sigmas)
    steps = len(sigmas) - 1
    assert calls == 2 * steps + 1
    assert len(step_noise.drawn) == len(inner_noise.drawn) == steps
    outer, inner = step_noise.again(), inner_noise.again()
    levels = [*map(float, sigmas[:-1]), LAST_SIGMA]
    x, refined = state.latent.astype(np.float64), 0
    for s, n in pairwise(levels):
        h = math.log(s / n)
        a21, b2 = 0.5 * phi(1, -h * 0.5), phi(2, -h) / 0.5
        b1 = phi(1, -h) - b2
        anchor, d1 = x, blended(state, network(np.float32(x), s))
        e1 = d1 - anchor
        sub = math.sqrt(s * n)
        xm = inject(state, anchor, anchor + h * a21 * e1, s, sub, 0.5, unit(next(inner)))
        if h < 0.5 and s > 0.03:
            refined += 1
            for _ in range(100):
                anchor = xm - h * a21 * e1
                e1 = d1 - anchor
        d2 = blended(state, network(np.float32(xm), sub))
        xn = anchor + h * (b1 * e1 + b2 * (d2 - anchor))
        x = inject(state, anchor, xn, s, n, eta, unit(next(outer)))
    assert 0 < refined < steps
    want = blended(state, network(np.float32(x), LAST_SIGMA))
    compare("latent", got, want, tolerances.SAMPLER_F32)
    np.testing.assert_array_equal(got[0], state.clean[0])


def test_streams_of_a_run_share_one_noise_in_turns() -> None:
    choice = SamplerChoice("euler_ancestral", noise_seed=2**64 - 1)
    make = choice.factory()
    video, audio = make(), make()
    state = replace(held_state(), mask=np.ones(TOKENS, np.float32))
    walks = [each.walk(state, np.float32([1.0, 0.5, 0.0])) for each in (video, audio)]
    for walk in walks:
        next(walk)
    first, second = (walk.send(np.zeros_like(state.latent)).latent for walk in walks)
    source = NoiseSource(9_999)
    # From level 1 the ancestral step to 0.5 goes down to 0.25.
    scale = math.sqrt(0.25 - (0.25 * 0.5 / 0.75) ** 2)
    for got in (first, second):
        noise = scale * source.normal(state.latent.shape)
        compare("latent", got, 0.25 * 0.5 / 0.75 * state.latent + noise, tolerances.SAMPLER_F32)
