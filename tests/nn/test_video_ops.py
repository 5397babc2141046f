"""Operations of the video networks: both forms against their definition in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import compare
from tolerances import CONV_F32, OP_F32, ROUNDING

from ltx2cpp import _core
from ltx2cpp.errors import ShapeError

testing: Any = getattr(_core, "_testing", None)
pytestmark = pytest.mark.skipif(
    testing is None, reason="the extension was built without LTX2CPP_TESTING"
)

Array = np.ndarray[Any, Any]
EPS = 1e-8
FUSED = pytest.mark.parametrize("fused", [True, False], ids=["fused", "composed"])
# Kernels in the order of files only where the CPU multiplies BF16.
KINDS = ["f32", "f16", "bf16"] + (["direct"] if testing and testing.gemm_kernels() else [])
PACKINGS = pytest.mark.parametrize("height_fastest", [False, True], ids=["width", "height"])


def draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check(name: str, make: Any, want: Array, tolerance: float) -> None:
    """Compare both forms with the definition, and the fused one on two threads with itself."""
    fused = make(fused=True).run().reshape(want.shape)
    compare(f"{name} fused", fused, want, tolerance)
    compare(f"{name} composed", make(fused=False).run().reshape(want.shape), want, tolerance)
    two = make(fused=True, threads=2).run().reshape(want.shape)
    np.testing.assert_array_equal(two, fused)


def norm_silu(x: Array) -> Array:
    x = x.astype(np.float64)
    y = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS)
    return np.asarray(y / (1 + np.exp(-y)))


# Fewer channels than a vector register holds, an odd number, more than one block of partial sums.
@pytest.mark.parametrize("channels", [3, 37, 1100])
def test_pixel_norm_silu(channels: int) -> None:
    x = draw(1, 2, 3, channels) * 40
    x[0, 0] = 0
    x[0, 1] *= 1e-6

    def make(**options: Any) -> Any:
        return testing.pixel_norm_silu(x, EPS, **options)

    check("pixel_norm_silu", make, norm_silu(x), OP_F32)


def padded(x: Array, front: int, back: int, reflect: bool, zero_frames: bool) -> Array:
    mode: Any = "reflect" if reflect else "constant"
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode=mode)
    ends = [
        np.repeat(end * (not zero_frames), count, 0)
        for end, count in ((x[:1], front), (x[-1:], back))
    ]
    return np.concatenate([ends[0], x, ends[1]])


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize(
    ("earlier", "frames", "front", "back", "reflect", "zero_frames"),
    [
        (0, 3, 1, 1, False, False),
        (0, 1, 3, 0, True, False),
        (2, 2, 0, 0, True, False),
        (1, 2, 1, 1, False, False),
        (2, 0, 0, 1, True, False),
        (0, 2, 1, 1, False, True),
    ],
)
def test_pad_frames(
    kind: str,
    norm: bool,
    earlier: int,
    frames: int,
    front: int,
    back: int,
    reflect: bool,
    zero_frames: bool,
) -> None:
    x = draw(2, earlier + frames, 3, 4, 19)
    want = padded(norm_silu(x) if norm else x.astype(np.float64), front, back, reflect, zero_frames)
    settings = {
        "type": kind,
        "front": front,
        "back": back,
        "reflect": reflect,
        "zero_frames": zero_frames,
        "norm_silu": norm,
    }

    def make(**options: Any) -> Any:
        return testing.pad_frames(
            earlier=x[:earlier] if earlier else None,
            frames=x[earlier:] if frames else None,
            **settings,
            **options,
        )

    check("pad_frames", make, want, ROUNDING[kind])
    if earlier and not front:
        # The same frames as an earlier call left them.
        head = testing.pad_frames(
            frames=x[:earlier], type=kind, reflect=reflect, norm_silu=norm, fused=True
        )
        kept = head.run().reshape(earlier, 5, 6, 19)

        def make_kept(**options: Any) -> Any:
            return testing.pad_frames(
                earlier=kept,
                frames=x[earlier:] if frames else None,
                earlier_is_padded=True,
                **settings,
                **options,
            )

        check("pad_frames after padded ones", make_kept, want, ROUNDING[kind])


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_rounding_of_padded_frames(kind: str) -> None:
    """Ties, subnormal, largest, overflowing and special values; numpy rounds binary16 alike."""
    values = np.array(
        [0.0, -0.0, 1.0, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 6e-8, -3e-8, 2e-8,
         6.1e-5, 65504, 65519.9, 65520, -1e30, np.inf, -np.inf, np.nan],
        np.float32,
    )  # fmt: skip
    result = testing.pad_frames(frames=values.reshape(1, 1, 1, -1), type=kind, fused=True)
    got = result.run().reshape(3, 3, len(values))[1, 1]
    if kind == "f16":
        with np.errstate(over="ignore"):
            want = values.astype(np.float16).astype(np.float32)
    else:
        bits = values.view(np.uint32).astype(np.uint64)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
        want = bits.astype(np.uint32).view(np.float32).copy()
        want[np.isnan(values)] = np.nan
    np.testing.assert_array_equal(got, want)


def convolved(x: Array, weight: Array, bias: Array) -> Array:
    """Weight (taps, out, in), x with its padding."""
    kernel = weight.reshape(-1, 3, 3, *weight.shape[1:]).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(
        x.astype(np.float64), kernel.shape[:3], axis=(0, 1, 2)
    )
    out = np.einsum("thwcijk,ijkoc->thwo", windows, kernel, optimize=True)
    return np.asarray(out + bias.astype(np.float64))


# Widths of the smallest fixture; channels that fill vectors; neither; more than go together; rows
# of whole blocks.
@pytest.mark.parametrize(
    ("inside", "out", "frames", "height", "width"),
    [
        (6, 12, 2, 3, 4),
        (64, 32, 3, 5, 2),
        (33, 17, 1, 1, 1),
        (48, 130, 2, 7, 9),
        (300, 70, 1, 3, 4),
        (33, 40, 2, 3, 64),
    ],
)
@pytest.mark.parametrize("taps", [9, 27])
@pytest.mark.parametrize("kind", KINDS)
def test_conv3d(
    inside: int, out: int, frames: int, height: int, width: int, taps: int, kind: str
) -> None:
    weight = draw(3, taps, out, inside)
    bias = draw(4, out)
    x = draw(5, frames + taps // 9 - 1, height + 2, width + 2, inside)
    added = draw(6, frames, height, width, out)
    want = convolved(x, weight, bias)
    tolerance = CONV_F32 if kind == "f32" else ROUNDING.get(kind, ROUNDING["bf16"]) * 2
    held = as_stored(weight) if kind == "direct" else weight

    def make(**options: Any) -> Any:
        return testing.conv3d(held, bias, x, type=kind, taps=taps, **options)

    check("conv3d", make, want, tolerance)
    for split in {0, 1, frames}:

        def make_residual(split: int = split, **options: Any) -> Any:
            return testing.conv3d(
                held,
                bias,
                x,
                earlier=added[:split] if split else None,
                frames=added[split:] if split < frames else None,
                type=kind,
                taps=taps,
                **options,
            )

        check("conv3d with residual", make_residual, want + added, tolerance)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind in ("f32", "direct")])
def test_conv3d_of_a_frame_does_not_depend_on_its_neighbours_in_the_buffer(kind: str) -> None:
    """What makes a streamed clip equal to a whole one, bit by bit."""
    weight, bias = draw(3, 27, 40, 24), draw(4, 40)
    held = as_stored(weight) if kind == "direct" else weight
    x = draw(5, 9, 6, 7, 24)
    whole = testing.conv3d(held, bias, x, type=kind, fused=True).run()
    for start in range(7):
        part = testing.conv3d(held, bias, x[start : start + 3], type=kind, fused=True).run()
        np.testing.assert_array_equal(part, whole[start])


def as_stored(weight: Array) -> Array:
    """Turn (taps, out, in) into the order of files, (out, in * taps)."""
    return np.ascontiguousarray(weight.transpose(1, 2, 0)).reshape(weight.shape[1], -1)


@FUSED
@PACKINGS
def test_depth_to_space_places_each_channel(fused: bool, height_fastest: bool) -> None:
    x = np.zeros((1, 1, 1, 16), np.float32)
    for channel in range(16):
        x[:] = 0
        x[..., channel] = 1
        result = testing.depth_to_space(x, [2, 2, 2], height_fastest, fused=fused).run()
        within = channel % 4
        row, column = (within % 2, within // 2) if height_fastest else (within // 2, within % 2)
        want = np.zeros((2, 2, 2, 2))
        want[channel // 4 % 2, row, column, channel // 8] = 1
        np.testing.assert_array_equal(result, want)


@PACKINGS
@pytest.mark.parametrize("factor", [[2, 2, 2], [1, 2, 2], [2, 1, 1], [1, 3, 3]])
def test_space_to_depth_undoes_depth_to_space(factor: list[int], height_fastest: bool) -> None:
    x = draw(7, 3, 2, 4, 5 * int(np.prod(factor)))
    for fused in (True, False):
        there = testing.depth_to_space(x, factor, height_fastest, fused=fused).run()
        t, h, w = factor
        assert there.shape == (3 * t, 2 * h, 4 * w, 5)
        back = testing.space_to_depth(there, factor, height_fastest, fused=fused).run()
        np.testing.assert_array_equal(back, x)


@pytest.mark.parametrize("drop_first", [False, True])
@pytest.mark.parametrize("split", [0, 1, 3])
def test_depth_to_space_with_shortcut(drop_first: bool, split: int) -> None:
    x, skip = draw(8, 3, 2, 4, 32), draw(9, 3, 2, 4, 16)

    def shuffled(values: Array) -> Array:
        return np.asarray(
            testing.depth_to_space(values, [2, 2, 2], False, drop_first, fused=False).run()
        )

    # Four channels from two: the block repeats, not each channel.
    want = shuffled(x) + np.tile(shuffled(skip), 2)

    def make(**options: Any) -> Any:
        earlier = skip[:split] if split else None
        frames = skip[split:] if split < 3 else None
        return testing.depth_to_space(x, [2, 2, 2], False, drop_first, earlier, frames, **options)

    check("depth_to_space", make, want, OP_F32)


@pytest.mark.parametrize("lead", [0, 1])
def test_space_to_depth_with_shortcut(lead: int) -> None:
    x, skip = draw(10, 4, 4, 2, 3), draw(11, 4 - lead, 4, 2, 6)
    extended = np.concatenate([skip[:1]] * lead + [skip])

    def shuffled(values: Array) -> Array:
        return np.asarray(testing.space_to_depth(values, [2, 2, 2], fused=False).run())

    means = shuffled(extended).reshape(2, 2, 1, 24, 2).astype(np.float64).mean(-1)
    want = shuffled(x).reshape(2, 2, 1, 24) + means

    def make(**options: Any) -> Any:
        return testing.space_to_depth(x, [2, 2, 2], False, skip, lead, **options)

    check("space_to_depth", make, want, OP_F32)


@pytest.mark.parametrize(("channels", "groups"), [(32, 32), (96, 32), (40, 2)])
@pytest.mark.parametrize("residual", [False, True])
def test_group_norm_silu(channels: int, groups: int, residual: bool) -> None:
    # An offset far from zero: the variance must not be the difference of two large numbers.
    x = draw(12, 3, 7, 19, channels) + 30
    weight, bias, added = draw(13, channels), draw(14, channels), draw(15, *x.shape)
    grouped = x.astype(np.float64).reshape(3, 7, 19, groups, -1)
    centred = grouped - grouped.mean(axis=(0, 1, 2, 4), keepdims=True)
    variance = np.square(centred).mean(axis=(0, 1, 2, 4), keepdims=True)
    y = (centred / np.sqrt(variance + 1e-5)).reshape(x.shape) * weight + bias
    y = y + added if residual else y

    def make(**options: Any) -> Any:
        extra = added if residual else None
        return testing.group_norm_silu(x, weight, bias, groups, 1e-5, extra, **options)

    # The offset costs digits: 30 is rounded to 2e-6.
    check("group_norm_silu", make, y / (1 + np.exp(-y)), 20 * OP_F32)


@FUSED
def test_group_norm_checks_its_arguments(fused: bool) -> None:
    x = draw(1, 2, 2, 2, 8)
    with pytest.raises(ShapeError, match="weight"):
        testing.group_norm_silu(x, draw(2, 7), draw(3, 8), 2, 1e-5, fused=fused)
    with pytest.raises(ShapeError, match="3 groups must divide 8"):
        testing.group_norm_silu(x, draw(2, 8), draw(3, 8), 3, 1e-5, fused=fused)
