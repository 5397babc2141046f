"""Clips as notebooks show them."""

from __future__ import annotations

import base64
import html
import io
from typing import BinaryIO, Protocol

from ltx2cpp.media import Hdr
from ltx2cpp.values import Audio, FrameArray

# What a notebook keeps in its own file, and loads with it.
_MOST_BYTES = 32 << 20


class _Shown(Protocol):
    @property
    def video(self) -> FrameArray | None: ...
    @property
    def sound(self) -> Audio | None: ...
    @property
    def hdr(self) -> Hdr | None: ...
    def save(self, path: BinaryIO, *, format: str) -> None: ...


def as_html(clip: _Shown) -> str:
    """Return a player with the clip inside, and a line about it.

    Without pictures it plays the sound; what is neither, or larger than 32 MiB, is the line alone.

    Raises:
        Error: the clip cannot be encoded.
    """
    line = html.escape(repr(clip))
    ending, tag = ("mp4", "video") if clip.video is not None else ("wav", "audio")
    if clip.hdr is not None or (clip.video is None and clip.sound is None):
        return f"<pre>{line}</pre>"
    target = io.BytesIO()
    clip.save(target, format=ending)
    if target.tell() > _MOST_BYTES:
        return f"<pre>{line}</pre>"
    data = base64.b64encode(target.getvalue()).decode("ascii")
    loop = " loop" if tag == "video" else ""
    source = f"data:{tag}/{ending};base64,{data}"
    return f'<{tag} controls{loop} src="{source}" title="{line}"></{tag}><pre>{line}</pre>'
