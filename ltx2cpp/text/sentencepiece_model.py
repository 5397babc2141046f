"""Reading and writing the pieces of a sentencepiece model file.

The file is one protocol-buffer message; only the few fields needed here are known.

Source: Google sentencepiece, sentencepiece_model.proto (field numbers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from ltx2cpp.errors import CheckpointError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# ModelProto
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
# ModelProto.SentencePiece
_TEXT, _SCORE, _TYPE = 1, 2, 3
# TrainerSpec
_MODEL_TYPE, _BYTE_FALLBACK = 3, 35
_BPE = 2
# NormalizerSpec
_NAME, _ADD_DUMMY_PREFIX, _REMOVE_EXTRA_WHITESPACES, _ESCAPE_WHITESPACES = 1, 3, 4, 5

_MAX_PIECES = 1 << 22


class PieceType(IntEnum):
    """Kind of a piece; GGUF's ``token_type`` uses the same numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """One entry of the vocabulary; its id is its place in the list."""

    text: str
    score: float
    kind: PieceType


def read_pieces(payload: bytes, where: str) -> list[Piece]:
    """Return the vocabulary of a model file, in id order.

    Args:
        payload: the whole file.
        where: its name for errors.

    Raises:
        CheckpointError: not such a file.
    """
    pieces: list[Piece] = []
    try:
        for field, value in _fields(payload):
            if field == _PIECES and isinstance(value, bytes):
                pieces.append(_read_piece(value))
                if len(pieces) > _MAX_PIECES:
                    raise ValueError(f"more than {_MAX_PIECES} pieces")
    except (ValueError, struct.error) as error:
        raise CheckpointError(f"{where}: not a sentencepiece model ({error})") from error
    if not pieces:
        raise CheckpointError(f"{where}: not a sentencepiece model (it holds no pieces)")
    return pieces


def write_model(pieces: Sequence[Piece]) -> bytes:
    """Return a BPE model with Gemma's normalisation: spaces escaped, text otherwise untouched."""
    # A vocabulary has a quarter of a million pieces, so what all of them share is made once.
    piece_tag, text_tag = _tag(_PIECES, _BYTES), _tag(_TEXT, _BYTES)
    score_tag, packed = _tag(_SCORE, _FIXED32), struct.Struct("<f").pack
    kinds = {kind: _field(_TYPE, int(kind)) for kind in PieceType} | {PieceType.NORMAL: b""}
    out = bytearray()
    for text, score, kind in pieces:
        raw = text.encode("utf-8")
        body = text_tag + _encode_varint(len(raw)) + raw + score_tag + packed(score) + kinds[kind]
        out += piece_tag + _encode_varint(len(body)) + body
    trainer = _field(_MODEL_TYPE, _BPE)
    if any(piece.kind is PieceType.BYTE for piece in pieces):
        trainer += _field(_BYTE_FALLBACK, 1)
    normalizer = (
        _field(_NAME, b"identity")
        + _field(_ADD_DUMMY_PREFIX, 0)
        + _field(_REMOVE_EXTRA_WHITESPACES, 0)
        + _field(_ESCAPE_WHITESPACES, 1)
    )
    return bytes(out + _field(_TRAINER, trainer) + _field(_NORMALIZER, normalizer))


def _read_piece(body: bytes) -> Piece:
    text, score, kind = "", 0.0, PieceType.NORMAL
    for field, value in _fields(body):
        if field == _TEXT and isinstance(value, bytes):
            text = value.decode("utf-8")
        elif field == _SCORE and isinstance(value, float):
            score = value
        elif field == _TYPE and isinstance(value, int):
            kind = PieceType(value)
    return Piece(text, score, kind)


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield field number and value of each entry of a message."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        wire, field = key & 7, key >> 3
        if wire == _VARINT:
            number, position = _varint(data, position)
            yield field, number
        elif wire == _FIXED32:
            yield field, struct.unpack_from("<f", data, position)[0]
            position += 4
        elif wire == _FIXED64:
            yield field, struct.unpack_from("<d", data, position)[0]
            position += 8
        elif wire == _BYTES:
            length, position = _varint(data, position)
            if length > len(data) - position:
                raise ValueError(f"a field at byte {position} runs past the end")
            yield field, data[position : position + length]
            position += length
        else:
            raise ValueError(f"unknown field kind {wire} at byte {position}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if position >= len(data):
            raise ValueError("it ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError(f"a number at byte {position} is too long")


def _tag(field: int, wire: int) -> bytes:
    return _encode_varint(field << 3 | wire)


def _field(field: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _tag(field, _VARINT) + _encode_varint(value)
    return _tag(field, _BYTES) + _encode_varint(len(value)) + value


@lru_cache(maxsize=256)
def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
