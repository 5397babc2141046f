"""Tell names of models from paths, and take names apart.

A name is one of the table's (`ltx-2.3-distilled:q8_0`), a repository of the hub
(`hf:owner/name:tag`), a file in one (`hf:owner/name/folder/file.gguf@revision`), or the address of
either as a browser shows it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ltx2cpp.errors import HubError

PREFIX = "hf:"
# Suffixes of files that are ever fetched: nothing that runs, nothing that has to be unpacked.
FILE_SUFFIXES = (".safetensors", ".gguf", ".json", ".model")
MODEL_SUFFIXES = (".safetensors", ".gguf")

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_TABLE_NAME = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?::([a-z0-9_-]{1,24}))?")
_REPOSITORY = re.compile(rf"({_WORD}/{_WORD})(?::([A-Za-z0-9_.-]{{1,64}}))?")
_FILE = re.compile(rf"({_WORD}/{_WORD})/([^@:?#]+)")
# Path objects make one slash of two.
_ADDRESS = re.compile(
    rf"https?:/+(?P<host>[^/?#]+)/(?P<repository>{_WORD}/{_WORD})"
    r"(?:/(?:(?:blob|resolve)/(?P<revision>[^/?#]+)/(?P<file>[^?#]+)|tree/(?P<tree>[^/?#]+)(?:/[^?#]*)?))?"
    r"/?(?:[?#].*)?"
)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")


@dataclass(frozen=True, slots=True)
class TableName:
    """A name of the table.

    Attributes:
        name: family and variant, "ltx-2.3-distilled".
        weights: how the transformer is stored, "q8_0"; "" leaves it to the table.
    """

    name: str
    weights: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.weights}" if self.weights else self.name


@dataclass(frozen=True, slots=True)
class RepositoryName:
    """A repository, of which a tag may choose a file.

    Attributes:
        repository: "owner/name".
        tag: end of the file's stem, such as "Q4_K_M"; "" for none.
        revision: branch, tag or commit.
        host: host of the address that it was given as; "" for others.
    """

    repository: str
    tag: str = ""
    revision: str = "main"
    host: str = ""

    def __str__(self) -> str:
        return PREFIX + self.repository + (f":{self.tag}" if self.tag else "")


@dataclass(frozen=True, slots=True)
class FileName:
    """A file in a repository.

    Attributes:
        repository: "owner/name".
        file: path in it.
        revision: branch, tag or commit.
        host: host of the address that it was given as; "" for others.
    """

    repository: str
    file: str
    revision: str = "main"
    host: str = ""

    def __str__(self) -> str:
        at = "" if self.revision == "main" else f"@{self.revision}"
        return f"{PREFIX}{self.repository}/{self.file}{at}"


Name = TableName | RepositoryName | FileName


def parse_name(value: str | os.PathLike[str]) -> Name | None:
    """Take a name apart.

    Args:
        value: what was given where a path may stand. One that exists as a path is no name.

    Returns:
        its parts; None for what can only be a path. Whether a table has it is not looked at.

    Raises:
        HubError: it begins as a name and goes on as none.
    """
    text = os.fspath(value)
    if os.path.lexists(text):
        return None
    if address := _ADDRESS.fullmatch(text):
        return _of_address(address)
    if text.startswith(PREFIX):
        return _of_prefixed(text)
    if re.match(r"https?:", text):
        raise HubError(
            f"{text}: is no address of a model; expected that of a repository or of a file in it "
            "(.../owner/name, .../owner/name/blob/main/file.gguf), or hf:owner/name"
        )
    if text.lower().endswith(FILE_SUFFIXES):
        return None
    match = _TABLE_NAME.fullmatch(text.lower())
    return TableName(match[1], match[2] or "") if match else None


def check_file(path: str, where: str) -> None:
    """Refuse the path of a file that leaves its repository, or is none.

    Raises:
        HubError: such a path.
    """
    parts = path.split("/")
    unsafe = (
        any(part in ("", ".", "..") for part in parts)
        or "\\" in path
        or ":" in path
        or not path.isprintable()
        or any(len(part.encode("utf-8", "replace")) > 255 for part in parts)
    )
    if unsafe:
        raise HubError(
            f"{where}: lists the file {path[:100]!r}, whose name leaves the folder of the model or "
            "is none; nothing is fetched from there"
        )


def _of_address(match: re.Match[str]) -> Name:
    repository, host = match["repository"], match["host"]
    if match["file"]:
        check_file(match["file"], match[0])
        return FileName(repository, match["file"], match["revision"], host)
    return RepositoryName(repository, "", match["tree"] or "main", host)


def _of_prefixed(text: str) -> Name:
    body, _, revision = text[len(PREFIX) :].partition("@")
    if revision and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise HubError(f"{text}: {revision!r} is no revision; expected a branch, a tag or a commit")
    revision = revision or "main"
    if match := _REPOSITORY.fullmatch(body):
        return RepositoryName(match[1], match[2] or "", revision)
    if match := _FILE.fullmatch(body):
        check_file(match[2], text)
        return FileName(match[1], match[2], revision)
    raise HubError(
        f"{text}: expected hf:owner/name, hf:owner/name:tag or hf:owner/name/file@revision"
    )
