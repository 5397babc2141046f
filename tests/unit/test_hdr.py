"""High dynamic range: curves in float64, EXR files, the HLG master, and what is refused."""

from __future__ import annotations

import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import fake_pipeline
from numpy.typing import NDArray

from ltx2cpp import media
from ltx2cpp.cli.main import main
from ltx2cpp.errors import ArgumentError, OutputError
from ltx2cpp.media import Hdr, HdrCurve, HdrSpace, color_curves
from ltx2cpp.media.exr import write_exr
from ltx2cpp.media.hlg_video import to_ycc
from ltx2cpp.values import Audio

OpenEXR: Any = pytest.importorskip("OpenEXR", reason="HDR needs the package OpenEXR (extra hdr)")

SPACES = list(HdrSpace)
LIGHT = np.array([0.0, 0.001, 0.0078125, 0.01, 0.18, 1.0, 8.0, 100.0])


def cct(linear: float) -> float:
    if linear > 0.0078125:
        return (math.log2(linear) + 9.72) / 17.52
    return 10.5402377416545 * linear + 0.0729055341958355


def logc3(linear: float) -> float:
    if linear >= 0.010591:
        return 0.247190 * math.log10(5.555556 * linear + 0.052272) + 0.385537
    return 5.367655 * linear + 0.092809


@pytest.mark.parametrize(
    ("to", "back", "formula", "grey"),
    [
        (color_curves.to_acescct, color_curves.from_acescct, cct, 0.4135884),
        (color_curves.to_logc3, color_curves.from_logc3, logc3, 0.391007),
    ],
)
def test_log_curves(to: Any, back: Any, formula: Any, grey: float) -> None:
    codes = to(LIGHT)
    np.testing.assert_allclose(codes, np.clip(list(map(formula, LIGHT)), 0, 1), atol=1e-12)
    assert codes[LIGHT == 0.18] == pytest.approx(grey, abs=1e-6)
    inside = codes < 1
    np.testing.assert_allclose(back(codes)[inside], LIGHT[inside], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(to(np.array([-10.0, 1e6])), [0, 1])
    assert to(LIGHT.astype(np.float32)).dtype == np.float32


def test_acescct_ends_where_it_is_defined_to() -> None:
    assert color_curves.from_acescct(np.array(0.155251141552511)) == pytest.approx(0.0078125)
    assert color_curves.from_acescct(np.array(1.0)) == pytest.approx(222.8609, abs=1e-3)


def test_primaries() -> None:
    colours = np.random.default_rng(1).random((5, 3))
    there = color_curves.ap1_to_rec709(colours)
    want = np.array([[1.70505, -0.62179, -0.08326], [-0.13026, 1.1408, -0.01055]]) @ colours[0]
    np.testing.assert_allclose(there[0, :2], want, atol=1e-12)
    np.testing.assert_allclose(color_curves.rec709_to_ap1(there), colours, atol=1e-12)
    np.testing.assert_allclose(color_curves.ap1_to_rec709(np.ones(3)), 1, atol=2e-5)


def test_hlg() -> None:
    white = (math.exp((0.75 - 0.55991073) / 0.17883277) + 0.28466892) / 12
    grey = 0.17883277 * math.log(12 * 0.5 * white - 0.28466892) + 0.55991073
    bright = 1 - (1 - white) * math.exp(-white / (1 - white))
    bright = 0.17883277 * math.log(12 * bright - 0.28466892) + 0.55991073
    light = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 1e4])
    want = [0, math.sqrt(3 * 0.1 * white), grey, 0.75, bright, 1]
    signals = color_curves.to_hlg(np.repeat(light[:, None], 3, 1))
    np.testing.assert_allclose(signals, np.repeat(np.array(want)[:, None], 3, 1), atol=1e-7)
    # The shoulder begins with the slope of the line below it.
    around = color_curves.to_hlg(np.repeat(np.array([[0.999], [1.0], [1.001]]), 3, 1))[:, 0]
    assert around[2] - around[1] == pytest.approx(around[1] - around[0], rel=1e-2)
    # Rec.709 red lies inside Rec.2020; what has no place there is cut to nothing.
    assert color_curves.to_hlg(np.array([1.0, 0, 0]))[2] > 0
    assert color_curves.to_hlg(np.array([-1.0, 0, 0])).max() == 0


def test_ten_bits_of_limited_range() -> None:
    signal = np.zeros((2, 6, 3), np.float32)
    signal[:, 2:4], signal[:, 4:] = 1, (1, 0, 0)
    luma, blue, red = to_ycc(signal)
    assert luma[0].tolist() == [64, 64, 940, 940, 294, 294]
    assert (blue[0].tolist(), red[0].tolist()) == ([512, 512, 387], [512, 512, 960])


@pytest.mark.parametrize("curve", list(HdrCurve))
@pytest.mark.parametrize("space", SPACES)
def test_codes_of_files_and_back(space: HdrSpace, curve: HdrCurve) -> None:
    hdr = Hdr(space, curve)
    codes = np.random.default_rng(2).uniform(0.2, 0.7, (4, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(hdr.codes(hdr.pixels(codes)), codes, atol=2e-5)
    white = hdr.codes(np.ones((1, 3), np.float32))
    if space is HdrSpace.ACESCCT and curve is HdrCurve.ACESCCT:
        assert (white == 1).all()
    elif space is not HdrSpace.ACESCCT:
        formula = cct if curve is HdrCurve.ACESCCT else logc3
        np.testing.assert_allclose(white, formula(1.0), atol=1e-5)
        np.testing.assert_allclose(hdr.rec709(white), 1, atol=1e-4)


# -- files ----------------------------------------------------------------------------------------


def exr(path: Path, channels: dict[str, NDArray[Any]], **header: Any) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_pixels_of_exr_files(tmp_path: Path, dtype: Any) -> None:
    pixels = np.random.default_rng(3).normal(size=(6, 4, 3)).astype(dtype)
    path = exr(tmp_path / "a.exr", {"RGB": pixels})
    np.testing.assert_array_equal(media.read_exr(path, HdrSpace.ACESCG), pixels)
    grey = exr(tmp_path / "y.exr", {"Y": pixels[..., 0].copy()})
    read = media.read_exr(grey, HdrSpace.ACESCG)
    np.testing.assert_array_equal(read, np.repeat(pixels[..., :1], 3, axis=2))


@pytest.mark.parametrize("space", SPACES)
def test_written_files_are_half_floats_with_their_primaries(
    tmp_path: Path, space: HdrSpace, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.full((4, 6, 3), 1e6, np.float32)
    write_exr(tmp_path / "a.exr", pixels, space)
    with OpenEXR.File(str(tmp_path / "a.exr")) as file:
        stored, header = file.channels()["RGB"].pixels, dict(file.header())
    assert stored.dtype == np.float16 and stored.max() == 65504
    red_x = 0.64 if space is HdrSpace.SRGB_LINEAR else 0.713
    assert header["chromaticities"][0] == pytest.approx(red_x)
    names = {"SRGB_LINEAR": "sRGB", "ACESCG": "ACEScg", "ACESCCT": "ACEScct"}
    assert header["colorSpace"] == names[space.value]
    media.read_exr(tmp_path / "a.exr", space)
    assert not caplog.records
    media.read_exr(tmp_path / "a.exr", SPACES[(SPACES.index(space) + 1) % 3])
    other = SPACES[(SPACES.index(space) + 1) % 3]
    tagged_so = HdrSpace.SRGB_LINEAR not in (space, other)
    assert ("its primaries are not those of" in caplog.text) is not tagged_so


def damaged(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.exr"
    if kind == "cut":
        exr(path, {"RGB": np.zeros((64, 64, 3), np.float16)})
        path.write_bytes(path.read_bytes()[:330])
    elif kind == "depth":
        exr(path, {"Z": np.zeros((4, 4), np.float32)})
    elif kind == "infinite":
        exr(path, {"RGB": np.full((4, 4, 3), np.inf, np.float16)})
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", "cannot be decoded"),
        ("depth", "its channels are Z, expected R, G and B"),
        ("infinite", "values that are not finite"),
        ("folder", "is a folder"),
    ],
)
def test_exr_files_that_cannot_be_read(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        media.read_exr(damaged(tmp_path, kind), HdrSpace.ACESCG)


def test_a_clip_is_written_as_master_and_files(tmp_path: Path) -> None:
    import av

    hdr = Hdr(HdrSpace.ACESCG, HdrCurve.ACESCCT)
    codes = np.full((3, 32, 64, 3), cct(1.0), np.float32)
    sound = Audio(np.zeros((2, 24000), np.float32), 48000)
    saved = media.save_video(
        tmp_path / "a.mp4", [codes[:1], codes[1:]], frame_rate=24, audio=sound, hdr=hdr
    )
    assert saved.exr_folder == tmp_path / "a_exr" and saved.num_frames == 3
    names = sorted(path.name for path in saved.exr_folder.iterdir())
    assert names == ["frame_00000.exr", "frame_00001.exr", "frame_00002.exr"]
    pixels = media.read_exr(saved.exr_folder / names[2], HdrSpace.ACESCG)
    np.testing.assert_allclose(pixels, 1, atol=1e-3)
    with av.open(str(saved.path)) as container:
        stream: Any = container.streams.video[0]
        context = stream.codec_context
        tags = (context.color_primaries, context.color_trc, context.colorspace)
        assert (context.name, context.pix_fmt, *tags) == ("hevc", "yuv420p10le", 9, 18, 9)
        assert (context.color_range, stream.average_rate) == (1, Fraction(24))
        assert len(container.streams.audio) == 1
        planes = [np.frombuffer(plane, "<u2") for plane in next(container.decode(video=0)).planes]
    # Diffuse white is the signal 0.75, without a colour.
    for plane, level in zip(planes, (64 + 876 * 0.75, 512, 512), strict=True):
        assert np.median(plane) == pytest.approx(level, abs=2)
    # An encoder leaves the times of so few frames to chance.
    for count in (2, 1) * 4:
        media.save_video(tmp_path / "a.mp4", [codes[:count]], frame_rate=24, hdr=hdr)
        assert len(list(saved.exr_folder.iterdir())) == count


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hdr = Hdr(HdrSpace.ACESCG, HdrCurve.ACESCCT)
    codes = np.zeros((1, 32, 32, 3), np.float32)
    for name in ("a.gif", "a.webm", "frames/"):
        with pytest.raises(ArgumentError, match="HDR is written as an HLG master"):
            media.save_video(f"{tmp_path}/{name}", [codes], frame_rate=24, hdr=hdr)
    (tmp_path / "a_exr").mkdir()
    (tmp_path / "a_exr" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="holds other files"):
        media.save_video(tmp_path / "a.mp4", [codes], frame_rate=24, hdr=hdr)
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(OutputError, match=r"pip install 'OpenEXR>=3\.5'"):
        media.save_video(tmp_path / "b.mp4", [codes], frame_rate=24, hdr=hdr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_exr"]


def test_words_for_colours() -> None:
    assert media.parse_hdr_space("acescg") is HdrSpace.ACESCG
    with pytest.raises(ArgumentError, match="expected one of SRGB_LINEAR, ACESCG, ACESCCT"):
        media.parse_hdr_space("PQ")


# -- the command line -----------------------------------------------------------------------------


def test_the_option_and_its_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_pipeline.install(monkeypatch)
    out = tmp_path / "a.mp4"
    assert main(["generate", "a boat", "--hdr", "acescg", "-o", str(out)]) == 0
    assert fake_pipeline.CALLS[-1]["hdr"] == "ACESCG"
    calls = len(fake_pipeline.CALLS)
    lamp = exr(tmp_path / "b_exr.exr", {"RGB": np.zeros((4, 4, 3), np.float16)})
    (tmp_path / "b_exr").mkdir()
    lamp = lamp.rename(tmp_path / "b_exr" / "frame_00000.exr")
    for words, message in (
        (["-o", "a.gif"], "HDR is written as an HLG master"),
        (["-o", str(tmp_path / "b.mp4"), "--image", str(lamp)], "which is read for --image"),
    ):
        assert main(["generate", "a boat", "--hdr", "ACESCG", *words]) == 2
        assert message in capsys.readouterr().err
    assert len(fake_pipeline.CALLS) == calls


def test_a_clip_in_hdr_is_made_again_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_pipeline.install(monkeypatch)
    made = {"prompt": "a boat", "seed": 1, "sigmas": [1.0, 0.0]}
    codes = np.zeros((1, 32, 32, 3), np.float32)
    hdr = Hdr(HdrSpace.ACESCCT, HdrCurve.ACESCCT)
    for word, code in (("ACESCCT", 0), ("PQ", 2)):
        media.save_video(
            tmp_path / "a.mp4", [codes], frame_rate=24, hdr=hdr, parameters={**made, "hdr": word}
        )
        again = ["--like", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "b.mp4")]
        assert main(["generate", *again]) == code
    assert fake_pipeline.CALLS[-1]["hdr"] == "ACESCCT"
    assert "its hdr cannot be read: 'PQ'" in capsys.readouterr().err
