"""Clips of PNG frames with a colour profile, whose name PyAV frees twice where it is looked at."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from ltx2cpp.media.frame_pixels import FramePixels

_READING = """
import gc, sys
from ltx2cpp.media import read_video
for _ in range(8):
    print(read_video(sys.argv[1]).frames.shape)
    gc.collect()
"""


def test_animated_png_files_with_profiles_end_no_process(tmp_path: Path) -> None:
    path = tmp_path / "a.apng"
    pictures = [Image.new("RGB", (48, 32), (20 * index, 9, 9)) for index in range(6)]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pictures[0].save(
        path, "PNG", save_all=True, append_images=pictures[1:], icc_profile=profile, duration=40
    )
    # In a process of its own, as this one would end with it.
    ended = subprocess.run(
        [sys.executable, "-c", _READING, str(path)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "(6, 32, 48, 3)\n" * 8), ended.stderr


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (180, 2), (-180, 2), (-90, 3)])
def test_png_frames_are_turned_by_their_angle(degrees: int, turns: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
    turned = SimpleNamespace(
        rotation=degrees,
        width=48,
        height=32,
        format=frame.format,
        reformat=frame.reformat,
    )
    context = SimpleNamespace(name="png", color_trc=2)
    stream = SimpleNamespace(codec_context=context, sample_aspect_ratio=None)
    np.testing.assert_array_equal(
        FramePixels(stream, "clip").shown(turned), np.rot90(pixels, turns)
    )
