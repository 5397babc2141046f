"""Interlaced clips: frames come out whole, as many, at their times and in their colours."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
from harness import compare_absolute
from numpy.typing import NDArray
from tolerances import CLIP_COLOUR

from ltx2cpp import media
from ltx2cpp.media.deinterlacing import whole_frames

WIDTH, HEIGHT, FRAMES = 128, 64, 12
GREEN = (40, 120, 40)


def scene(moment: int) -> NDArray[np.uint8]:
    """A white bar on green that moves by three columns a moment, two moments a frame."""
    picture = np.full((HEIGHT, WIDTH, 3), GREEN, np.uint8)
    picture[:, 32 + 3 * moment : 44 + 3 * moment] = 230
    return picture


def woven(index: int) -> NDArray[np.uint8]:
    """A frame whose odd lines come first, as this encoder marks them."""
    frame = scene(2 * index)
    frame[::2] = scene(2 * index + 1)[::2]
    return frame


def write(path: Path, *, interlaced: bool = True, height: int = HEIGHT) -> Path:
    with av.open(str(path), "w") as container:
        fields = f"interlaced={int(interlaced)}"
        stream: Any = container.add_stream("libx264", 25, options={"x264-params": f"qp=4:{fields}"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, height, "yuv444p"
        for index in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(woven(index)[:height], "rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv444p")))
        container.mux(stream.encode())
    return path


def combs(frame: NDArray[Any]) -> float:
    """Return how much lines differ from those around them."""
    rows = frame.astype(np.float64)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def test_interlaced_clips_have_no_combs(tmp_path: Path) -> None:
    source = media.read_video(write(tmp_path / "a.mkv"))
    assert len(source.frames) == FRAMES and source.frame_rate == 25
    for index, frame in enumerate(source.frames):
        assert combs(frame) < combs(woven(index)) / 4
        compare_absolute("green", frame[:, :24].mean(axis=(0, 1)), GREEN, CLIP_COLOUR)
        # The first field stands, so that frames are not moved in time.
        compare_absolute("first field", frame[1::2], scene(2 * index)[1::2], CLIP_COLOUR)
    still = write(tmp_path / "b.mkv", interlaced=False)
    assert combs(media.read_video(still).frames[5]) > combs(woven(5)) / 2


def test_frames_of_all_forms_keep_their_order_and_times(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "progressive.mkv", interlaced=False),
        write(tmp_path / "interlaced.mkv"),
        write(tmp_path / "lower.mkv", height=HEIGHT - 32),
    ]
    decoded = []
    for path in paths:
        with av.open(str(path)) as container:
            decoded.append(list(container.decode(video=0)))
    given = [*decoded[0], *decoded[1], *decoded[2], *decoded[0]]
    shown = list(whole_frames(iter(given), "clip"))
    for before, after in itertools.zip_longest(given, shown):
        assert (after.pts, after.time_base, after.width, after.height, after.format.name) == (
            *(before.pts, before.time_base, before.width, before.height, before.format.name),
        )
