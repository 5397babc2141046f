"""What a given file is, by its content."""

from __future__ import annotations

HEAD_BYTES = 16
TAKEN = (
    "a picture (JPEG, PNG, WebP), a video (MP4, MOV, WebM, MKV) or a sound (WAV, MP3, FLAC, OGG, "
    "M4A), by content"
)


def kind_of(head: bytes) -> tuple[str, str] | None:
    """Return kind and suffix of a file by its first 16 bytes; None for what is not taken."""
    pictures = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"))
    for magic, suffix in pictures:
        if head.startswith(magic):
            return "picture", suffix
    if head[:4] == b"RIFF":
        return {b"WEBP": ("picture", ".webp"), b"WAVE": ("sound", ".wav")}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return ("sound", ".m4a") if head[8:11] == b"M4A" else ("video", ".mp4")
    for magic, kind, suffix in (
        (b"\x1aE\xdf\xa3", "video", ".mkv"),
        (b"fLaC", "sound", ".flac"),
        (b"OggS", "sound", ".ogg"),
        (b"ID3", "sound", ".mp3"),
    ):
        if head.startswith(magic):
            return kind, suffix
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:
        return "sound", ".mp3"
    return None
