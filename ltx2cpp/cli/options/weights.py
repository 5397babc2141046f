"""Smaller weights of a model, where those that a name means do not fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ltx2cpp.cli.log import logging_to
from ltx2cpp.cli.options.memory import Fit, fits, in_words
from ltx2cpp.cli.text import spell_bytes
from ltx2cpp.errors import Error

if TYPE_CHECKING:
    from pathlib import Path

    from ltx2cpp import MemoryPlan
    from ltx2cpp.hub import Download, Hub

# Weights that nearly every machine takes.
_SMALLER = "q4_k_m"


@dataclass(frozen=True)
class ModelName:
    """A name of the table, as a command was given it.

    Attributes:
        settled: the name with its weights.
        smaller: the same with smaller weights; "" where there are none.
        is_open: whether the weights were left open.
    """

    settled: str
    smaller: str
    is_open: bool


def model_name(text: str, hub: Hub) -> ModelName | None:
    """Return a name of the table, None for what is another kind of name or a path."""
    from ltx2cpp.hub import TableName, parse_name

    name = parse_name(text)
    if not isinstance(name, TableName):
        return None
    settled, smaller = hub.settle(name), f"{name.name}:{_SMALLER}"
    known = smaller in hub.table.names and smaller != settled
    return ModelName(settled, smaller if known else "", not name.weights)


@dataclass(frozen=True)
class Planned:
    """Files by name, and what a clip made with them takes.

    Attributes:
        download: the files.
        plan: the plan, made from headers alone.
    """

    download: Download
    plan: MemoryPlan

    def in_words(self, name: str) -> str:
        """Return a name with what it would fetch, and whether it fits."""
        return f"{name} ({spell_bytes(self.download.size_bytes)}) {in_words(self.plan)}"


def plan_by_headers(
    download: Download, plan_of: Callable[[dict[str, Path]], MemoryPlan]
) -> Planned:
    """Return what a clip takes, in silence: what would be logged is when the files are opened."""
    with logging_to(lambda _line: None, level=logging.ERROR), download.headers() as paths:
        return Planned(download, plan_of(paths))


def weights_that_fit(
    name: ModelName | None,
    usual: Planned,
    plan_smaller: Callable[[str], Planned],
    note: Callable[[str], None],
    *,
    streams: bool,
) -> Planned:
    """Return the files to take: with smaller weights where those of a name fit worse.

    Smaller ones are only taken where the name leaves them open; otherwise they are named.

    Args:
        name: the name; None where the model was given otherwise.
        usual: what the name means, planned.
        plan_smaller: plans another name.
        note: says on stderr what was found.
        streams: whether weights were asked to be streamed, which is no worse fit then.
    """
    fit = fits(usual.plan, streams=streams)
    if fit.is_best or name is None or not name.smaller:
        note(f"memory: {in_words(usual.plan)}")
        return usual
    note(f"memory: {usual.in_words(name.settled)}")
    try:
        smaller = plan_smaller(name.smaller)
    except Error as error:
        note(f"a smaller one: {name.smaller}, which is not to be had: {error}")
        return usual
    smaller_fit = fits(smaller.plan, streams=streams)
    note(f"a smaller one: {smaller.in_words(name.smaller)}")
    if smaller_fit <= fit or not name.is_open:
        if smaller_fit is not Fit.NO:
            note(f"--model {name.smaller} takes it")
        return usual
    note(f"{name.smaller} is taken, as no weights were named; --model {name.settled} takes others")
    return smaller
