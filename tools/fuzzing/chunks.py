"""Takes media files apart into chunks and puts changed ones together with right sums and sizes."""

from __future__ import annotations

import random
import struct
import zlib

from fuzzing.mutations import damaged

Rng = random.Random

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Boxes of MP4 that hold boxes.
_NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"moof", b"traf")


def changed_media(content: bytes, rng: Rng) -> bytes:
    """Return a file with one to three chunks changed, or just bytes, by what its form allows."""
    if rng.random() < 0.35:
        return damaged(content, rng)
    if content.startswith(_PNG_SIGNATURE):
        return _PNG_SIGNATURE + b"".join(map(_png_chunk, _changed(_png_chunks(content), rng)))
    if content[:4] == b"RIFF":
        body = b"".join(map(_riff_chunk, _changed(_riff_chunks(content[12:]), rng)))
        return b"RIFF" + struct.pack("<I", len(body) + 4) + content[8:12] + body
    if content[4:8] == b"ftyp":
        return _changed_boxes(content, rng)
    return damaged(content, rng)


Chunk = tuple[bytes, bytes]


def _changed(chunks: list[Chunk], rng: Rng) -> list[Chunk]:
    chunks = list(chunks)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not chunks:
            break
        place = rng.randrange(len(chunks))
        name, body = chunks[place]
        kind = rng.randrange(8)
        if kind == 0:
            del chunks[place]
        elif kind == 1:
            chunks.insert(place, rng.choice(chunks))
        elif kind == 2:
            rng.shuffle(chunks)
        elif kind == 3:
            chunks[place] = rng.choice(chunks)[0], body
        else:
            chunks[place] = name, damaged(body, rng)
    return chunks


def _png_chunks(content: bytes) -> list[Chunk]:
    chunks, position = [], len(_PNG_SIGNATURE)
    while position + 12 <= len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        chunks.append(
            (content[position + 4 : position + 8], content[position + 8 : position + 8 + size])
        )
        position += 12 + size
    return chunks


def _png_chunk(chunk: Chunk) -> bytes:
    name, body = chunk
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with_text(content: bytes, text: bytes) -> bytes:
    """Return a PNG file whose text chunk "comment" says something else.

    Args:
        content: a PNG file.
        text: anything; a NUL byte in it is left as it is.
    """
    chunks = _png_chunks(content)
    chunks.insert(1, (b"iTXt", b"comment\0\0\0\0\0" + text))
    return _PNG_SIGNATURE + b"".join(map(_png_chunk, chunks))


def _riff_chunks(content: bytes) -> list[Chunk]:
    chunks, position = [], 0
    while position + 8 <= len(content):
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        chunks.append((content[position : position + 4], content[position + 8 :][:size]))
        position += 8 + size + size % 2
    return chunks


def _riff_chunk(chunk: Chunk) -> bytes:
    name, body = chunk
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def _changed_boxes(content: bytes, rng: Rng) -> bytes:
    """Change boxes on some level of an MP4 file; sizes around them stay right."""
    boxes = _boxes(content)
    nested = [place for place, (name, _) in enumerate(boxes) if name in _NESTED]
    if nested and rng.random() < 0.9:
        place = rng.choice(nested)
        name, body = boxes[place]
        boxes[place] = name, _changed_boxes(body, rng)
    else:
        boxes = _changed(boxes, rng)
    return b"".join(struct.pack(">I", len(body) + 8) + name + body for name, body in boxes)


def _boxes(content: bytes) -> list[Chunk]:
    boxes, position = [], 0
    while position + 8 <= len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        if size < 8:
            break
        boxes.append(
            (content[position + 4 : position + 8], content[position + 8 : position + size])
        )
        position += size
    return boxes
