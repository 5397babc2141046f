"""Small pictures of clips on their way, and how their colours are learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ltx2cpp import LTX2Pipeline, Step, media
from ltx2cpp.cli.main import main
from ltx2cpp.errors import OutputError, ShapeError
from ltx2cpp.preview import save_preview
from ltx2cpp.preview.colours import ColourSums, colours_of, watched
from ltx2cpp.preview.tables import ColourTables
from ltx2cpp.values import FloatArray, FrameArray

PROMPT = "a red circle moves right on a green background"
CHANNELS = 12


def cell_colours(video: FrameArray) -> FloatArray:
    """Return the mean colours of cells of a clip (8 (F - 1) + 1, 32 h, 32 w, 3), by definition."""
    frames = 1 + len(video) // 8
    height, width = (side // 32 for side in video.shape[1:3])
    colours = np.empty((frames, height, width, 3), np.float32)
    for place in np.ndindex(frames, height, width):
        frame, row, column = place
        times = slice(0, 1) if frame == 0 else slice(8 * frame - 7, 8 * frame + 1)
        rows, columns = slice(32 * row, 32 * row + 32), slice(32 * column, 32 * column + 32)
        colours[place] = video[times, rows, columns].mean((0, 1, 2)) / 127.5 - 1
    return colours


def test_previews_of_the_demo_are_like_the_clip_and_change_nothing(tmp_path: Path) -> None:
    estimates: list[FloatArray] = []

    def note(step: Step) -> None:
        assert step.estimate is not None
        estimates.append(step.estimate)

    with LTX2Pipeline.demo("cpu", threads=2) as pipe:
        clip = pipe(PROMPT, seed=11, on_step=note)
        previews = [pipe.preview(estimate) for estimate in estimates]
    assert clip.video is not None
    expected = cell_colours(clip.video)
    height, width = clip.video.shape[1:3]
    for step, preview in enumerate(previews, start=1):
        assert preview.shape == (len(expected), height, width, 3) and preview.dtype == np.uint8
        centres = preview[:, 16::32, 16::32].astype(np.float64)
        similar = np.corrcoef(centres.ravel(), expected.ravel())[0, 1]
        assert similar >= (0.8 if step >= 4 else 0.5), (step, similar)
    words = [PROMPT, "--seed", "11", "--threads", "2", "-q"]
    assert main(["generate", *words, "-o", "a.safetensors", "--preview", "p.webp"]) == 0
    latent, _ = media.read_latents("a.safetensors")[:2]
    np.testing.assert_array_equal(latent, clip.video_latent)
    with Image.open("p.webp") as picture:
        assert picture.n_frames == len(expected)
        shown = np.asarray(picture.convert("RGB"))
    # The last step's; WebP is lossy.
    assert np.abs(shown.astype(int) - previews[-1][0]).mean() < 12


def clip_of(seed: int, matrix: FloatArray) -> tuple[FloatArray, FrameArray]:
    """Return a latent (C, 3, 4, 5) and 17 frames whose cells have its colours."""
    latent = np.random.default_rng(seed).standard_normal((CHANNELS, 3, 4, 5)).astype(np.float32)
    levels = (colours_of(latent, matrix) + 1) * 127.5
    frames = np.repeat(levels, [1, 8, 8], axis=0).repeat(32, axis=1).repeat(32, axis=2)
    return latent, np.clip(frames, 0, 255).round().astype(np.uint8)


def test_colours_are_learned_from_finished_clips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    matrix = np.random.default_rng(5).standard_normal((CHANNELS + 1, 3)).astype(np.float32) * 0.08
    tables = ColourTables(tmp_path / "made" / "first")
    assert tables.find("vae", CHANNELS) is None
    for seed in range(3):
        latent, video = clip_of(seed, matrix)
        chunks = iter([video[:1], video[1:12], video[12:]])
        learned: list[FloatArray] = []
        assert sum(map(len, watched(chunks, 3, learned.append))) == 17
        np.testing.assert_allclose(learned[0], cell_colours(video), atol=1e-5)
        tables.learn("vae", latent, learned[0])
    found = tables.find("vae", CHANNELS)
    assert found is not None
    np.testing.assert_allclose(found, matrix, atol=0.01)
    assert ColourTables(None).find("vae", CHANNELS) is None
    # What cannot be read is learned anew, and said.
    (path,) = (tmp_path / "made" / "first").iterdir()
    for content in (b"", path.read_bytes()[:-1]):
        path.write_bytes(content)
        assert tables.find("vae", CHANNELS) is None
    assert tables.find("vae", CHANNELS + 1) is None
    assert caplog.text.count("colours are learned anew") == 3


def test_a_table_stays_near_the_former_one_where_clips_tell_nothing() -> None:
    prior = np.full((CHANNELS + 1, 3), 0.25, np.float32)
    latent = np.zeros((CHANNELS, 1, 2, 2), np.float32)
    latent[0] = [[1, -1], [1, -1]]
    colours = np.zeros((1, 2, 2, 3), np.float32)
    colours[..., 0] = latent[0]
    table = ColourSums.empty(CHANNELS).with_clip(latent, colours).table(prior)
    np.testing.assert_allclose(table[0], [1, 0, 0], atol=0.02)
    np.testing.assert_allclose(table[-1], 0, atol=0.02)
    np.testing.assert_array_equal(table[1:-1], prior[1:-1])


def test_unfinished_clips_teach_nothing() -> None:
    learned: list[FloatArray] = []
    list(watched(iter([np.zeros((9, 32, 32, 3), np.uint8)]), 3, learned.append))
    assert learned == []


def test_an_unknown_vae_has_false_colours() -> None:
    from ltx2cpp.preview.colours import false_colours

    latent = np.zeros((CHANNELS, 2, 4, 4), np.float32)
    latent[:, 1, :, 2:] = 1
    shown = false_colours(latent)
    assert shown.shape == (2, 4, 4, 3) and np.isfinite(shown).all()
    assert shown[1, 0, 3, 0] - shown[1, 0, 0, 0] > 1
    np.testing.assert_array_equal(false_colours(np.ones((2, 1, 1, 1), np.float32)), 0)


def test_previews_are_written_whole_at_the_pace_of_the_clip(tmp_path: Path) -> None:
    path = tmp_path / "p.webp"
    pictures = np.random.default_rng(0).integers(0, 255, (4, 32, 64, 3), dtype=np.uint8)
    save_preview(path, pictures, 2.0)
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size) == (4, (64, 32))
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] == 500
    save_preview(path, pictures[:1], 0.0)
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.webp"]
    with pytest.raises(OutputError, match="does not exist"):
        save_preview(tmp_path / "no" / "p.webp", pictures, 1.0)


def test_what_is_no_latent_is_refused() -> None:
    with LTX2Pipeline.demo("cpu", threads=1) as pipe:
        for latent, message in (
            (np.zeros((64, 2, 3)), "preview: expected 4 axes"),
            (np.zeros((64, 0, 2, 3)), r"preview: expected \(64, F, h, w\), found"),
            (np.full((64, 1, 2, 3), np.nan), "not finite"),
            (np.zeros((63, 1, 2, 3)), r"preview: expected \(64, F, h, w\), found \(63,"),
        ):
            with pytest.raises(ShapeError, match=message):
                pipe.preview(latent)
        wide = pipe.preview(np.zeros((64, 20, 10, 40), np.float32))
    assert wide.shape == (8, 128, 512, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "a.mp4", "--preview", "p.gif"], "--preview p.gif: previews are written as .webp"),
        (["-o", "a.webp", "--preview", "a.webp"], "--preview and --output name the same file"),
        (["-o", "a.wav", "--audio-only", "--preview", "p.webp"], "no pictures with --audio-only"),
        (["-o", "a.mp4", "--preview", "no/p.webp"], "does not exist; create it first"),
        (["-o", "a.mp4", "--image", "i.webp", "--preview", "i.webp"], "--preview"),
    ],
)
def test_files_that_cannot_be_previews_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (96, 64)).save("i.webp")
    assert main(["generate", PROMPT, *words]) == 2
    assert message in capsys.readouterr().err
