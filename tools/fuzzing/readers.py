"""All readers of the package that files of others reach."""

from __future__ import annotations

from fuzzing.command_readers import command_readers
from fuzzing.core_readers import core_readers
from fuzzing.media_readers import media_readers
from fuzzing.model_readers import model_readers
from fuzzing.reader import Reader
from fuzzing.text_readers import text_readers


def all_readers() -> list[Reader]:
    """Return every reader, in the order of the report."""
    readers = [*model_readers(), *text_readers(), *media_readers(), *core_readers()]
    return [*readers, *command_readers(readers)]
