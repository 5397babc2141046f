"""Bodies of requests: fields, and files that go to disk under names of ours while they arrive."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email.message import Message as Headers
from pathlib import Path
from typing import Any, BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError, MultipartParseError
from starlette.requests import ClientDisconnect, Request

from ltx2cpp.requests.kinds import HEAD_BYTES, TAKEN, kind_of
from ltx2cpp.server.failures import ApiError, invalid

MIB = 1 << 20
_MOST_BYTES = {"picture": 32 * MIB, "video": 512 * MIB, "sound": 512 * MIB}
_MOST_BODY = 1024 * MIB
_MOST_JSON = 48 * MIB  # a picture as a data address
_MOST_TEXT = MIB
_MOST_FIELDS, _MOST_FILES = 100, 16
_MOST_ADDRESS = 20_971_520  # characters of a data address, as hosted
_READ_S = 60.0
_DATA = re.compile(r"data:[\w/+.-]*;base64,", re.ASCII)
_PLAIN_NAME = re.compile(r"([A-Za-z_]\w*)(?:\[\])?", re.ASCII)
_INNER_NAME = re.compile(r"([A-Za-z_]\w*)\[([A-Za-z_]\w*)\]", re.ASCII)


@dataclass
class Body:
    """What a request brought.

    Attributes:
        fields: values by name; texts from a form, anything plain from JSON.
        files: (name of the field, kind, file name of ours) in their order.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    files: list[tuple[str, str, str]] = field(default_factory=list)


class Incoming:
    """A file on its way to disk.

    Args:
        folder: where it goes.
        name: of the field, for what is refused.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(exist_ok=True)
        self._path, self._name = folder / f"{secrets.token_hex(8)}.part", name
        self._file: BinaryIO = os.fdopen(
            os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        )
        self._head, self._bytes = b"", 0

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ApiError: the file is too large for its kind.
        """
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self._bytes += len(data)
        kind, _ = kind_of(self._head) or ("video", "")
        if self._bytes > _MOST_BYTES[kind]:
            raise too_large(f"{self._name}: a {kind} may have {_MOST_BYTES[kind] // MIB} MiB")
        self._file.write(data)

    def close(self) -> tuple[str, str]:
        """Return the kind of the whole file and its name.

        Raises:
            ApiError: it is of no kind that is taken.
        """
        self._file.close()
        kind = kind_of(self._head)
        if kind is None:
            raise invalid(
                self._name,
                f"expected {TAKEN}",
                "unsupported_value",
            )
        final = self._path.with_suffix(kind[1])
        self._path.rename(final)
        return kind[0], final.name


async def read_body(request: Request, folder: Path, file_fields: tuple[str, ...]) -> Body:
    """Read a form or a JSON object.

    Args:
        request: its body is not read yet.
        folder: where files go.
        file_fields: names under which files may come.

    Raises:
        ApiError: the body is too large, too slow, damaged, or holds what is not taken.
    """
    kind, parameters = _content_type(request.headers.get("content-type", ""))
    if kind == "multipart/form-data":
        return await _read_form(request, parameters.get("boundary", ""), folder, file_fields)
    if kind == "application/json":
        body = Body(await _read_object(request))
        _take_addresses(body, folder, file_fields)
        return body
    raise ApiError(
        415,
        f"content-type: expected multipart/form-data or application/json, found {kind!r:.60}",
        "unsupported_value",
    )


async def read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ApiError: as of `read_body`.
    """
    kind, _ = _content_type(request.headers.get("content-type", ""))
    if kind != "application/json":
        raise ApiError(
            415,
            f"content-type: expected application/json, found {kind!r:.60}",
            "unsupported_value",
        )
    return await _read_object(request)


async def _read_object(request: Request) -> dict[str, Any]:
    return _parse_json(b"".join([chunk async for chunk in body_chunks(request, _MOST_JSON)]))


def too_large(message: str) -> ApiError:
    """Return the refusal of what has too many bytes."""
    return ApiError(413, message, "too_large")


def _content_type(header: str) -> tuple[str, dict[str, str]]:
    headers = Headers()
    headers["content-type"] = header.encode("ascii", "replace").decode()
    parameters = headers.get_params(failobj=[])
    # One that names its character set is not text, and no client writes it so.
    return headers.get_content_type() if header else "", {
        name.lower(): value for name, value in parameters[1:] if isinstance(value, str)
    }


async def body_chunks(request: Request, most: int) -> AsyncIterator[bytes]:
    """Yield the body while it keeps to a number of bytes and to a pace.

    Raises:
        ApiError: it does not, or ends early.
    """
    total, stream = 0, request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), _READ_S)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise ApiError(408, "the body came too slowly", "timeout") from None
        except ClientDisconnect:
            raise ApiError(400, "the body ended early", "invalid_body") from None
        total += len(chunk)
        if total > most:
            raise too_large(f"the body may have {most // MIB} MiB")
        yield chunk


def _parse_json(data: bytes) -> dict[str, Any]:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number of JSON")

    try:
        value = json.loads(data, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {error}", "invalid_body") from None
    if not isinstance(value, dict):
        raise ApiError(400, "the body is no JSON object", "invalid_body")
    return value


def _take_addresses(body: Body, folder: Path, file_fields: tuple[str, ...]) -> None:
    """Put the files that JSON holds as data addresses beside those of forms."""
    for name in file_fields:
        if (value := body.fields.pop(name, None)) is None:
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict) and list(each) == ["id"]:
                body.fields[name] = each["id"]
                continue
            address = _address(name, each)
            if len(body.files) == _MOST_FILES:
                raise invalid(name, f"expected at most {_MOST_FILES} files")
            try:
                data = base64.b64decode(address[address.index(",") + 1 :], validate=True)
            except ValueError:
                raise invalid(name, "its data is not in base64") from None
            incoming = Incoming(folder, name)
            incoming.write(data)
            body.files.append((name, *incoming.close()))


def _address(name: str, value: Any) -> str:
    """Return the data address in a reference.

    Raises:
        ApiError: it is another address, which nothing here follows.
    """
    if isinstance(value, dict) and len(value) == 1:
        key, value = next(iter(value.items()))
        if key not in ("image_url", "video_url", "audio_url"):
            raise invalid(name, f"{key!r:.40} is not taken; give image_url with a data address")
    if not isinstance(value, str) or _DATA.match(value) is None:
        raise invalid(
            name,
            "expected {'image_url': 'data:image/png;base64,...'}; other addresses are not followed",
            "unsupported_value",
        )
    if len(value) > _MOST_ADDRESS:
        raise too_large(f"{name}: a data address may have {_MOST_ADDRESS} characters")
    return value


async def _read_form(
    request: Request, boundary: str, folder: Path, file_fields: tuple[str, ...]
) -> Body:
    form = _Form(folder, file_fields)
    with _form_errors(), form.closing():
        if not boundary:
            raise ApiError(400, "content-type: a form needs a boundary", "invalid_body")
        parser = MultipartParser(boundary.encode("latin-1"), form.callbacks())
        async for chunk in body_chunks(request, _MOST_BODY):
            parser.write(chunk)
        parser.finalize()
        if not form.ended:
            raise ApiError(400, "the form ends early", "invalid_body")
    return form.body


@contextlib.contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except (MultipartParseError, FormParserError, UnicodeError) as error:
        raise ApiError(400, f"the form is damaged: {error}", "invalid_body") from None


class _Form:
    """Takes the parts of a form as the parser meets them.

    Args:
        folder, file_fields: see `read_body`.
    """

    def __init__(self, folder: Path, file_fields: tuple[str, ...]) -> None:
        self.body, self.ended = Body(), False
        self._folder, self._file_fields = folder, file_fields
        self._count = self._text_bytes = 0
        self._key, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._name, self._inner = "", ""
        self._text: bytearray | None = None
        self._file: Incoming | None = None

    def callbacks(self) -> Any:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._grow(self._key, data[start:end]),
            "on_header_value": lambda data, start, end: self._grow(self._value, data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": lambda data, start, end: self._take(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Close a file that a refusal leaves open."""
        try:
            yield
        finally:
            if self._file is not None:
                with contextlib.suppress(ApiError):
                    self._file.close()

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MOST_FIELDS:
            raise ApiError(413, f"a form may have {_MOST_FIELDS} fields", "too_large")
        self._headers = {}

    @staticmethod
    def _grow(text: bytearray, data: bytes) -> None:
        if len(text) + len(data) > 4096:
            raise ApiError(400, "the form is damaged: a header is too long", "invalid_body")
        text += data

    def _end_header(self) -> None:
        self._headers[self._key.decode("latin-1").lower()] = self._value.decode("utf-8")
        self._key.clear()
        self._value.clear()

    def _open(self) -> None:
        headers = Headers()
        headers["content-disposition"] = self._headers.get("content-disposition", "")
        name = headers.get_param("name", "", "content-disposition")
        name = name if isinstance(name, str) else ""
        plain, inner = _PLAIN_NAME.fullmatch(name), _INNER_NAME.fullmatch(name)
        self._name, self._inner = inner.groups() if inner else (name, "")
        if plain is not None:
            self._name = plain[1]
        elif inner is None:
            raise invalid(name[:64] or "form", "is no name of a field", "unknown_field")
        is_file = headers.get_param("filename", None, "content-disposition") is not None
        if not is_file:
            self._text = bytearray()
            return
        if self._name not in self._file_fields:
            raise invalid(self._name[:64], "takes no file", "unknown_field")
        if len(self.body.files) == _MOST_FILES:
            raise invalid(self._name, f"expected at most {_MOST_FILES} files")
        self._file = Incoming(self._folder, self._name)

    def _take(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
            return
        assert self._text is not None
        self._text_bytes += len(data)
        if self._text_bytes > _MOST_TEXT:
            raise too_large("the texts of a form may have 1 MiB")
        self._text += data

    def _end(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            self.body.files.append((self._name, *file.close()))
            return
        assert self._text is not None
        value: Any = self._text.decode("utf-8")
        fields = self.body.fields
        if self._inner:
            fields.setdefault(self._name, {})
            if not isinstance(fields[self._name], dict):
                raise invalid(self._name, "is given twice")
            fields[self._name][self._inner] = value
            return
        if self._name in fields:
            raise invalid(self._name, "is given twice")
        fields[self._name] = value

    def _finish(self) -> None:
        self.ended = True
