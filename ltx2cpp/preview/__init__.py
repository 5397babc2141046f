"""Small pictures of a clip that is still being denoised, without its decoder."""

from __future__ import annotations

from ltx2cpp.preview.pictures import save_preview
from ltx2cpp.preview.previews import Previews

__all__ = ["Previews", "save_preview"]
