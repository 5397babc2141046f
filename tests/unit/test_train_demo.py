"""The demo's training data, pixel checks, latents and products."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training tools need torch (extra `reference`)")

from train_demo import data  # noqa: E402
from train_demo.checks import draw_template, read_clip  # noqa: E402
from train_demo.latents import CELLS_ALONG, CELLS_DOWN, CHANNELS, design_latents  # noqa: E402
from train_demo.linear_start import start_linear  # noqa: E402
from train_demo.products import convolve, linear  # noqa: E402
from train_demo.registers import NUM_REGISTERS, wrong_orders  # noqa: E402
from train_demo.vae import Decoder, VaeConfig  # noqa: E402
from train_demo.vae_training import score_drawing, to_bytes  # noqa: E402


def test_checks_read_rendered_clips() -> None:
    rng = np.random.default_rng(3)
    scenes = data.sample_scenes(rng, data.all_combinations(), 48)
    clips, _ = data.render(scenes)
    for scene, clip in zip(scenes, clips, strict=True):
        reading = read_clip(to_bytes(clip))
        expected = scene.combination
        found = data.Combination(reading.shape, reading.colour, reading.motion, reading.background)
        assert found == expected
        assert reading.shape_overlap > 0.9


def test_checks_survive_an_empty_clip() -> None:
    reading = read_clip(np.full((17, 64, 64, 3), 120, dtype=np.uint8))
    assert reading.background == "gray"
    assert reading.shape_overlap == 0.0


def test_shapes_stay_inside_the_picture() -> None:
    rng = np.random.default_rng(4)
    _, masks = data.render(data.sample_scenes(rng, data.all_combinations(), 48))
    for edge in (masks[..., 0, :], masks[..., -1, :], masks[..., 0], masks[..., -1]):
        assert float(edge.max()) == 0.0


@pytest.mark.parametrize("shape", ["circle", "square", "triangle"])
def test_templates_have_the_asked_area(shape: str) -> None:
    template = draw_template(shape, np.array([31.0, 33.0], dtype=np.float32), 400.0, (64, 64))
    assert template.sum() == pytest.approx(400.0, rel=0.02)


def test_split_holds_out_combinations_of_every_word() -> None:
    training, held_out = data.TRAIN_COMBINATIONS, data.HELD_OUT_COMBINATIONS
    assert not set(training) & set(held_out)
    assert len(training) + len(held_out) == len(data.all_combinations()) == 462
    assert len(held_out) >= 40
    for words in (training, held_out):
        assert {one.shape for one in words} == set(data.SHAPES)
        assert {one.colour for one in words} == set(data.COLOURS)
        assert {one.motion for one in words} == set(data.MOTIONS)
        assert {one.background for one in words} == set(data.BACKGROUNDS)


def test_scenes_repeat_with_the_seed() -> None:
    first, second = (
        data.render(data.sample_scenes(np.random.default_rng(5), data.TRAIN_COMBINATIONS, 3))[0]
        for _ in range(2)
    )
    assert torch.equal(first, second)


def test_window_of_a_clip_is_the_clip_cut() -> None:
    scenes = data.sample_scenes(np.random.default_rng(6), data.TRAIN_COMBINATIONS, 2)
    whole, _ = data.render(scenes)
    part, _ = data.render(scenes, starts=[3, 5], num_frames=9)
    assert torch.equal(part[0], whole[0, :, 3:12])
    assert torch.equal(part[1], whole[1, :, 5:14])


def test_plain_caption_names_every_word() -> None:
    caption = data.plain_caption(data.Combination("circle", "red", "right", "black"))
    assert caption == "a red circle moves right on a black background"


def test_latents_tell_clips_apart() -> None:
    scenes = data.sample_scenes(np.random.default_rng(7), data.TRAIN_COMBINATIONS, 6)
    latents = design_latents(scenes)
    assert latents.shape == (6, CHANNELS, 3, CELLS_DOWN, CELLS_ALONG)
    assert torch.isfinite(latents).all()
    distances = torch.cdist(latents.flatten(1), latents.flatten(1))
    assert float((distances + 100 * torch.eye(6)).min()) > 1.0


def test_cells_far_from_the_shape_do_not_tell_what_it_is() -> None:
    centres = np.full((data.NUM_FRAMES, 2), 16.0)
    radii = np.full(data.NUM_FRAMES, 10.0)
    clips = [
        data.Scene(data.Combination(shape, colour, "still", "black"), centres, radii)
        for shape, colour in (("square", "red"), ("circle", "white"))
    ]
    first, second = design_latents(clips)
    torch.testing.assert_close(first[..., -1], second[..., -1], rtol=0, atol=1e-3)
    assert float((first[..., 0, 0] - second[..., 0, 0]).abs().max()) > 1.0


def test_the_linear_start_already_moves() -> None:
    torch.manual_seed(0)
    decoder = Decoder(VaeConfig(decoder_multipliers=(1, 1, 1, 1)))
    start_linear(decoder, seed=0, latent_noise=0.1, num_positions=4000)
    scores = score_drawing(decoder, 12, seed=1)
    assert scores["motion"] >= 0.8 and scores["overlap"] >= 0.5
    trained = {name for name, value in decoder.named_parameters() if value.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"up_blocks", "conv_out"}
    assert all("res_blocks" in name for name in trained if name.startswith("up_blocks"))


def test_wrong_orders_are_permutations_that_leave_nothing_in_place() -> None:
    orders = wrong_orders(40, torch.Generator().manual_seed(0))
    right = torch.arange(NUM_REGISTERS)
    assert torch.equal(orders.sort(dim=1).values, right.expand(40, -1))
    assert float((orders == right).float().mean(dim=1).max()) < 0.1


@pytest.mark.parametrize("frames", [1, 3, 5])
@pytest.mark.parametrize("before", [1, 2])
@pytest.mark.parametrize("channels", [(6, 4), (4, 20)])
def test_convolution_equals_the_library(
    frames: int, before: int, channels: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    inputs, outputs = channels
    x = torch.randn(2, frames, 4, 3, inputs, requires_grad=True)
    weight = torch.randn(outputs, inputs, 3, 3, 3, requires_grad=True)
    bias = torch.randn(outputs)
    found = convolve(x, weight, bias, before, torch.float32)
    ahead = x.permute(0, 4, 1, 2, 3)
    parts = [ahead[:, :, :1]] * before + [ahead] + [ahead[:, :, -1:]] * (2 - before)
    expected = torch.nn.functional.conv3d(torch.cat(parts, dim=2), weight, bias, padding=(0, 1, 1))
    expected = expected.permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    pull = torch.randn_like(found)
    found_grads = torch.autograd.grad(found, (x, weight), pull)
    expected_grads = torch.autograd.grad(expected, (x, weight), pull)
    for one, other in zip(found_grads, expected_grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_linear_equals_the_library() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 8, requires_grad=True)
    weight = torch.randn(3, 8, requires_grad=True)
    bias = torch.randn(3)
    found = linear(x, weight, bias, torch.float32)
    expected = torch.nn.functional.linear(x, weight, bias)
    torch.testing.assert_close(found, expected)
    pull = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, (x, weight), pull),
        torch.autograd.grad(expected, (x, weight), pull),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
