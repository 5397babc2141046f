"""Refuse files that do not belong together by what their names say, before anything is fetched.

What headers say is checked by `ltx2cpp.model` on the headers; this is the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ltx2cpp.errors import HubError
from ltx2cpp.hub.wanted import Wanted

_GENERATION = re.compile(r"ltx(?:v|-?video)?-?(2(?:[.-][0-9])?)(?![0-9])", re.IGNORECASE)
_DISTILLED, _DEV = re.compile(r"distill", re.IGNORECASE), re.compile(r"(?:^|[-_./])dev(?:[-_./]|$)")
_UPSCALERS = {
    "2.0": "hf:Lightricks/LTX-2",
    "2.3": "ltx-2.3-upscaler",
    "2.5": "hf:Lightricks/LTX-2.5",
}


def check_partners(wanted: Sequence[Wanted]) -> None:
    """Compare the names of files that are to work together.

    Raises:
        HubError: connectors of LTX-2 of the other variant, or a spatial upscaler of another
            generation; the sentence names the right one.
    """
    transformer = next(
        (each for each in wanted if each.role in ("transformer", "checkpoint")), None
    )
    if transformer is None:
        return
    generation = _generation(transformer)
    for each in wanted:
        if each.role == "connectors" and generation == "2.0":
            _check_connectors(each, transformer)
        if each.role == "spatial_upsampler":
            own = _generation(each)
            if own and generation and own != generation:
                raise HubError(
                    f"{_name(each)}: this upscaler is of LTX-{own}, but the transformer is of "
                    f"LTX-{generation} ({_name(transformer)}); take {_UPSCALERS[generation]}"
                )


def _check_connectors(connectors: Wanted, transformer: Wanted) -> None:
    """Compare the variants; dev and distilled LTX-2 have connectors of their own."""
    distilled = _DISTILLED.search(_name(transformer)) is not None
    dev = _DEV.search(_name(transformer)) is not None
    theirs_distilled = _DISTILLED.search(_name(connectors)) is not None
    theirs_dev = _DEV.search(_name(connectors)) is not None
    if (distilled and theirs_dev) or (dev and theirs_distilled):
        ours, other = ("distilled", "dev") if distilled else ("dev", "distilled")
        raise HubError(
            f"{_name(connectors)}: these connectors are of the {other} model, but the transformer "
            f"is {ours} ({_name(transformer)}); take the connectors whose name says {ours[:7]}"
        )


def _generation(wanted: Wanted) -> str:
    match = _GENERATION.search(wanted.files[0].path.rpartition("/")[2])
    match = match or _GENERATION.search(_name(wanted))
    number = match[1].replace("-", ".") if match else ""
    return {"2": "2.0", "2.1": "2.0"}.get(number, number if number in _UPSCALERS else "")


def _name(wanted: Wanted) -> str:
    return f"{wanted.listing.repository}/{wanted.files[0].path}"
