"""Readers of what a clip is made from: pictures, clips, sound, latents, contexts, parameters."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import io
import random
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.chunks import changed_media, png_with_text
from fuzzing.containers import changed_layout, header_of, write_file, write_safetensors
from fuzzing.mutations import changed, changed_entries, damaged, pick_text, to_json
from fuzzing.reader import CLIP_CEILING, HEADER_CEILING, PICTURE_CEILING, Reader
from ltx2cpp.cli.commands import generate
from ltx2cpp.media import (
    HdrSpace,
    read_audio,
    read_exr,
    read_latents,
    read_parameters,
    read_picture,
    read_video,
)
from ltx2cpp.networks.prompt_cache import PromptCache
from ltx2cpp.values import PromptEmbedding

Rng = random.Random

_SIZE = (48, 32)
_FRAMES = 6


# -- pictures


@functools.cache
def _pictures() -> dict[str, bytes]:
    """Return small pictures by suffix, several of a kind under one with a number before it."""
    from PIL import Image, ImageCms, features

    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(_SIZE[1]), np.arange(_SIZE[0])).astype(np.uint8)
    rgb = Image.fromarray(np.stack([ramp, ramp * 3, 255 - ramp], -1))
    alpha = rgb.convert("RGBA")
    alpha.putalpha(Image.fromarray(ramp * 2))
    deep = Image.fromarray(rng.integers(0, 1 << 16, _SIZE[::-1]).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "comment"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = [rgb.rotate(90 * turn) for turn in range(1, 3)]
    several: dict[str, Any] = {"save_all": True, "append_images": frames, "duration": 40}
    forms: list[tuple[str, str, Any, dict[str, Any]]] = [
        ("png", "PNG", rgb, {"icc_profile": profile}),
        ("1.png", "PNG", rgb.convert("P"), {"transparency": 3}),
        ("2.png", "PNG", deep, {}),
        ("3.png", "PNG", alpha, several),
        ("jpg", "JPEG", rgb, {"exif": exif, "icc_profile": profile}),
        ("1.jpg", "JPEG", rgb.convert("CMYK"), {"progressive": True}),
        ("webp", "WEBP", alpha, {"lossless": True, "exif": exif}),
        ("1.webp", "WEBP", rgb, several),
        ("gif", "GIF", rgb.convert("P"), {**several, "comment": b"{}"}),
        ("bmp", "BMP", rgb, {}),
        ("1.bmp", "BMP", rgb.convert("P"), {}),
        ("tif", "TIFF", rgb, {"compression": "tiff_lzw"}),
        ("1.tif", "TIFF", deep, {}),
        ("2.tif", "TIFF", alpha, {"compression": "tiff_adobe_deflate", "exif": exif}),
    ]
    if features.check("avif"):
        forms.append(("avif", "AVIF", rgb, {}))
    pictures = {}
    for name, form, picture, options in forms:
        out = io.BytesIO()
        picture.save(out, form, **options)
        pictures[name] = out.getvalue()
    return pictures


def _make_picture(rng: Rng, folder: Path) -> Path:
    return _make_media(rng, folder, _pictures())


def _make_media(rng: Rng, folder: Path, files: Mapping[str, bytes]) -> Path:
    name = rng.choice(list(files))
    content = changed_media(files[name], rng)
    if rng.random() < 0.03:
        content = files[rng.choice(list(files))]
    return write_file(folder / f"given.{name.rpartition('.')[2]}", content)


def _read_picture(path: Path) -> None:
    pixels = read_picture(path)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3, pixels.shape


# -- pictures of high dynamic range


@functools.cache
def _exr_files() -> dict[str, bytes]:
    """Return EXR files by suffix, of each kind of compression a small one."""
    import OpenEXR

    rng = np.random.default_rng(0)
    pixels = {
        "RGB": rng.random((*_SIZE[::-1], 3), np.float32).astype(np.float16),
        "RGBA": rng.random((*_SIZE[::-1], 4), np.float32),
    }
    forms = ["NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "DWAA"]
    files = {}
    for number, form in enumerate(forms):
        name = ("RGB", "RGBA")[number % 2]
        header = {
            "compression": getattr(OpenEXR, f"{form}_COMPRESSION"),
            "type": OpenEXR.scanlineimage,
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.exr"
            with OpenEXR.File(header, {name: pixels[name]}) as file:
                file.write(str(path))
            files[f"{number}.exr"] = path.read_bytes()
    return files


def _make_exr(rng: Rng, folder: Path) -> Path:
    return _make_media(rng, folder, _exr_files())


def _read_exr(path: Path) -> None:
    pixels = read_exr(path, HdrSpace.ACESCG)
    assert pixels.dtype == np.float32 and pixels.shape[2] == 3, (pixels.dtype, pixels.shape)


# -- clips and sound


@functools.cache
def _clips() -> dict[str, bytes]:
    forms = [
        ("mp4", "mp4", "libx264", "aac"),
        ("mov", "mov", "mpeg4", "pcm_s16le"),
        ("mkv", "matroska", "libx264", "aac"),
        ("webm", "webm", "libvpx-vp9", "libopus"),
        ("avi", "avi", "mjpeg", "pcm_s16le"),
        ("ts", "mpegts", "mpeg2video", "mp2"),
        ("gif", "gif", "gif", None),
    ]
    return {name: _encode(*form) for name, *form in forms}


@functools.cache
def _sounds() -> dict[str, bytes]:
    forms = [
        ("wav", "wav", None, "pcm_s16le"),
        ("1.wav", "wav", None, "pcm_f32le"),
        ("flac", "flac", None, "flac"),
        ("mp3", "mp3", None, "libmp3lame"),
        ("m4a", "ipod", None, "aac"),
        ("ogg", "ogg", None, "libopus"),
        ("aiff", "aiff", None, "pcm_s16be"),
    ]
    return {name: _encode(*form) for name, *form in forms}


def _encode(muxer: str, pictures: str | None, sound: str | None) -> bytes:
    """Return a clip of a few frames, the same in every run."""
    import av

    out = io.BytesIO()
    # Without the option some containers hold random numbers.
    with av.open(out, "w", format=muxer, options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = '{"prompt": "a red fox", "seed": 1}'
        # The header names all streams, and is written before the first packet.
        shown = None if pictures is None else _add_pictures(container, pictures)
        heard = None if sound is None else container.add_stream(sound, rate=48000, layout="stereo")
        if shown is not None:
            _encode_frames(container, shown)
        if heard is not None:
            _encode_sound(container, heard)
    return out.getvalue()


def _add_pictures(container: Any, codec: str) -> Any:
    stream = container.add_stream(codec, rate=Fraction(25))
    stream.width, stream.height = _SIZE
    stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
    return stream


def _encode_frames(container: Any, stream: Any) -> None:
    import av

    ramp = np.add.outer(np.arange(_SIZE[1]), np.arange(_SIZE[0])).astype(np.uint8)
    for index in range(_FRAMES):
        pixels = np.stack([ramp + index, ramp * 3, 255 - ramp], -1)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=stream.pix_fmt)
        frame.pts = index
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _encode_sound(container: Any, stream: Any) -> None:
    import av

    wave = np.sin(np.arange(4800) / 20).astype(np.float32)
    for start in range(0, 4800, 960):
        part = np.stack([wave[start : start + 960]] * 2)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _make_clip(rng: Rng, folder: Path) -> Path:
    return _make_media(rng, folder, _clips())


def _read_clip(path: Path) -> None:
    clip = read_video(path, with_audio=True)
    assert clip.frames.dtype == np.uint8 and clip.frames.ndim == 4 and clip.frame_rate > 0


def _make_sound(rng: Rng, folder: Path) -> Path:
    return _make_media(rng, folder, _sounds())


def _read_sound(path: Path) -> None:
    sound = read_audio(path)
    assert sound.samples.ndim == 2 and sound.samples.shape[0] == 2 and sound.sample_rate > 0


# -- parameters

_PARAMETERS = {
    "prompt": "a red fox",
    "negative_prompt": "blurry",
    "width": 96,
    "height": 64,
    "num_frames": 17,
    "frame_rate": 24.0,
    "seed": 7,
    "sigmas": [1.0, 0.5, 0.0],
    "audio": True,
    "video": True,
    "preset": "demo",
    "pipeline": "distilled",
    "two_stage": False,
    "temporal_upscale": False,
    "audio_condition": {"sound": "fox.wav", "start_s": 0.5},
    "sampler": {"name": "euler", "eta": 0.0, "noise_seed": 7},
    "conditions": [
        {"kind": "ImageCondition", "picture": "fox.png", "frame": 0, "strength": 1.0},
        {"kind": "Retake", "video": "fox.mp4", "start_s": 0.0, "end_s": None, "new_audio": False},
        {"kind": "ReferenceVideo", "video": "fox.mp4", "strength": 0.5, "downscale": 2},
    ],
    "guidance": {
        "video": {"cfg_scale": 3.0, "stg_scale": 1.0, "modality_scale": 3.0, "rescale": 0.7},
        "audio": {"bins": [[0.5, {"cfg_scale": 7.0}], [0.0, {"cfg_scale": 1.0}]]},
        "stg_blocks": [28],
    },
    "loras": [{"file": "a.safetensors", "strength": 1.0, "stages": [1]}],
}


def _comment(rng: Rng) -> bytes:
    tree = _PARAMETERS
    if rng.random() < 0.5:
        # One thing wrong among few is reached more often than among many.
        kept = rng.sample(list(tree), 3)
        tree = {name: tree[name] for name in ("prompt", "seed", *kept)}
    comment = to_json(changed(tree, rng), rng)
    return damaged(comment, rng) if rng.random() < 0.15 else comment


def _make_parameters(rng: Rng, folder: Path) -> Path:
    kind = rng.randrange(4)
    if kind == 0:
        return write_file(folder / "clip.png", png_with_text(_pictures()["png"], _comment(rng)))
    if kind == 1:
        metadata = {"format": "ltx2cpp latents 1", "comment": _comment(rng).decode("latin-1")}
        if rng.random() < 0.2:
            metadata = changed_entries(metadata, rng)
        header, size = header_of({"video_latent": ("F32", [1, 1, 1, 1])}, metadata)
        return write_safetensors(folder / "clip.safetensors", header, size, rng)
    if kind == 2:
        path = folder / "frames"
        path.mkdir()
        name = rng.choice(("00000.png", "00001.png", "x.png", "00000.txt"))
        write_file(path / name, png_with_text(_pictures()["png"], _comment(rng)))
        return path
    files = {**_pictures(), **_clips(), **_sounds()}
    name = rng.choice(list(files))
    content = files[name].replace(b'{"prompt": "a red fox"', _comment(rng)[:22].ljust(22))
    suffix = name.rpartition(".")[2] if rng.random() < 0.9 else pick_text(rng)[:20].strip("/\0")
    safe = "".join(each for each in suffix if each.isascii() and each not in "/\0")
    return write_file(folder / f"clip.{safe}", changed_media(content, rng))


def _make_like(rng: Rng, folder: Path) -> Path:
    return write_file(folder / "clip.png", png_with_text(_pictures()["1.png"], _comment(rng)))


def _read_like(path: Path) -> None:
    arguments = _parser().parse_args(
        ["--like", str(path), "--output", str(path.with_name("again.mp4"))]
    )
    generate.settle_call(arguments, lambda _: None)


@functools.cache
def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    generate.add_arguments(parser)
    return parser


# -- arrays


def _make_arrays(rng: Rng, path: Path, layout: dict[str, Any], metadata: dict[str, str]) -> Path:
    if rng.random() < 0.4:
        dtype = rng.choice(("F16", "BF16", "F8_E4M3", "F8_E5M2", "F64", "I64", "U8", "BOOL", "F4"))
        layout = {name: (dtype, shape) for name, (_, shape) in layout.items()}
    described = changed_layout(layout, rng) if rng.random() < 0.6 else layout
    header, size = header_of(described, metadata)
    if rng.random() < 0.5:
        header = changed(header, rng)
    # All of it is read, so that it should not be hundreds of megabytes of nothing.
    size = min(size, 1 << 22)
    return write_safetensors(path, header, size, rng, rng.randbytes(min(size, 4096)))


def _make_embedding(rng: Rng, folder: Path) -> Path:
    layout = {"video": ("F32", [8, 6]), "audio": ("F32", [8, 4])}
    metadata = {"format": "ltx2cpp-prompt-embedding"}
    return _make_arrays(rng, folder / "fox.safetensors", layout, metadata)


def _make_latents(rng: Rng, folder: Path) -> Path:
    layout = {"video_latent": ("F32", [4, 2, 2, 2]), "audio_latent": ("F32", [8, 3, 16])}
    metadata = {"format": "ltx2cpp latents 1", "comment": "{}"}
    return _make_arrays(rng, folder / "latents.safetensors", layout, metadata)


def _make_kept_prompt(rng: Rng, folder: Path) -> Path:
    layout = {"video": ("F32", [8, 6]), "audio": ("F32", [8, 4]), "digest": ("U8", [32])}
    return _make_arrays(rng, folder / "key.safetensors", layout, {})


def _read_kept_prompt(path: Path) -> None:
    assert PromptCache(path.parent).find(path.stem) is None


# -- the table


def media_readers() -> list[Reader]:
    """Return the readers of pictures, clips, sound and arrays."""
    return [
        Reader(
            "embedding", 40, HEADER_CEILING, _make_embedding, PromptEmbedding.load, reads_all=True
        ),
        Reader("latents", 40, HEADER_CEILING, _make_latents, read_latents, reads_all=True),
        Reader(
            "kept-prompt", 10, HEADER_CEILING, _make_kept_prompt, _read_kept_prompt, reads_all=True
        ),
        Reader("parameters", 40, PICTURE_CEILING, _make_parameters, read_parameters),
        Reader("like", 40, PICTURE_CEILING, _make_like, _read_like),
        Reader("picture", 40, PICTURE_CEILING, _make_picture, _read_picture),
        # Where its package is installed.
        *(
            [Reader("exr", 20, PICTURE_CEILING, _make_exr, _read_exr)]
            if importlib.util.find_spec("OpenEXR") is not None
            else []
        ),
        Reader("clip", 8, CLIP_CEILING, _make_clip, _read_clip),
        Reader("sound", 12, CLIP_CEILING, _make_sound, _read_sound),
    ]
