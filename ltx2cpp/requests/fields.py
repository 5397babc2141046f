"""The fields of requests, listed once: what they may hold is checked and published from here."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ltx2cpp.errors import ArgumentError
from ltx2cpp.generation.pipelines import PIPELINES
from ltx2cpp.generation.qualities import QUALITIES
from ltx2cpp.options import CACHE_MODES

MAX_SEED = 2**53 - 1  # the largest that every JSON reader keeps
MAX_PROMPT = 16 << 10
_WHOLE = re.compile(r"-?\d{1,16}")
_TRUE, _FALSE = ("true", "1"), ("false", "0")


class FieldError(ArgumentError):
    """A field of a request is unknown, missing, or has a wrong value.

    Args:
        field: its name.
        message: what is wrong, without the name.
        code: a word for programs.
    """

    def __init__(self, field: str, message: str, code: str = "invalid_value") -> None:
        super().__init__(f"{field}: {message}")
        self.field, self.code = field, code


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes:
        about: what it does, for the published description.
        kind: "string", "integer", "number", "boolean", or a list, "integers" or "numbers".
        least, most: of a number, or of the characters of a text.
        pattern: of a text.
        choices: all that a text may be.
    """

    about: str
    kind: str = "string"
    least: float | None = None
    most: float | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema; numbers may stand as text, as they do in forms."""
        if self.kind in ("integers", "numbers"):
            items = {"type": self.kind.removesuffix("s")}
            return {
                "description": self.about,
                "anyOf": [{"type": "array", "items": items}, {"type": "string"}],
            }
        schema: dict[str, Any] = {"type": self.kind}
        low, high = ("minLength", "maxLength") if self.kind == "string" else ("minimum", "maximum")
        for name, value in ((low, self.least), (high, self.most), ("pattern", self.pattern)):
            if value is not None:
                schema[name] = value
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.kind != "string":
            schema = {"anyOf": [schema, {"type": "string"}]}
        return {"description": self.about, **schema}

    def read(self, name: str, value: Any) -> Any:
        """Return a value as its kind.

        Raises:
            FieldError: it is of another kind, or out of range.
        """
        read = getattr(self, f"_read_{self.kind}")(name, value)
        size = len(read.encode("utf-8", "replace")) if isinstance(read, str) else read
        for bound, fails in ((self.least, "at least"), (self.most, "at most")):
            if bound is None or isinstance(read, list):
                continue
            if (size < bound) if fails == "at least" else (size > bound):
                unit = " bytes" if isinstance(read, str) else ""
                raise FieldError(name, f"expected {fails} {bound:g}{unit}, found {size}{unit}")
        return read

    def _read_string(self, name: str, value: Any) -> str:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.pattern:
            # A whole number may have more digits than any other number.
            value = str(value) if isinstance(value, int) else f"{value:g}"
        if not isinstance(value, str):
            raise FieldError(name, f"expected text, found {value!r:.40}")
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise FieldError(name, "holds characters that are no text")
        if self.pattern is not None and not re.fullmatch(self.pattern, value, re.ASCII):
            raise FieldError(name, f"expected text of the form {self.pattern}, found {value!r:.60}")
        if self.choices and value not in self.choices:
            raise FieldError(
                name,
                f"expected one of {', '.join(self.choices)}, found {value!r:.60}",
                "unsupported_value",
            )
        return value

    def _read_integer(self, name: str, value: Any) -> int:
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            return int(value)
        if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_SEED:
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise FieldError(name, f"expected a whole number, found {value!r:.40}")
        return value

    def _read_number(self, name: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise FieldError(name, f"expected a number, found {value!r:.40}")
        return number

    def _read_boolean(self, name: str, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
            return value.lower() in _TRUE
        raise FieldError(name, f"expected true or false, found {value!r:.40}")

    def _read_integers(self, name: str, value: Any) -> list[int]:
        parts = self._parts(name, value, "whole numbers", _MOST_REFERENCES)
        return [self._read_integer(name, part) for part in parts]

    def _read_numbers(self, name: str, value: Any) -> list[float]:
        return [
            self._read_number(name, part)
            for part in self._parts(name, value, "numbers", _MOST_NUMBERS)
        ]

    def _parts(self, name: str, value: Any, what: str, most: int) -> list[Any]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or len(parts) > most:
            raise FieldError(name, f"expected {what} separated by commas, found {value!r:.60}")
        return [part.strip() if isinstance(part, str) else part for part in parts]


_MOST_REFERENCES, _MOST_NUMBERS = 16, 1024
_PIPELINES = tuple(name for name, spec in PIPELINES.items() if spec.video)

PROMPT = Field("What the clip shows.", least=1, most=MAX_PROMPT)
SECONDS = Field(
    "Length of the clip in seconds; the nearest 8 k + 1 frames are made.",
    pattern=r"\d{1,3}(\.\d{1,6})?",
)

# Beside what OpenAI's interface has: what other servers of it take, under their names.
CLIP: Mapping[str, Field] = {
    "prompt": PROMPT,
    "seconds": SECONDS,
    "size": Field("Width and height in pixels.", pattern=r"\d{1,5}x\d{1,5}"),
    "width": Field("Pixels; instead of size.", "integer", 1, 99999),
    "height": Field("Pixels; instead of size.", "integer", 1, 99999),
    "snap": Field("Take the nearest valid size instead of refusing others.", "boolean"),
    "num_frames": Field("Frames, 8 k + 1; instead of seconds.", "integer", 1, 100_000),
    "fps": Field("Frames per second.", "number", 1, 120),
    "negative_prompt": Field("What to avoid; of guided models only.", most=MAX_PROMPT),
    "num_inference_steps": Field("Denoising steps.", "integer", 1, 200),
    "step_cache": Field(
        "Forecast steps that change little instead of computing them: taylorseer, or taylorseer:X "
        "with X of 0 to 1, 0.05 if left out; a lower one is nearer to all steps computed.",
        pattern=rf"({'|'.join(CACHE_MODES)})(:[01](\.\d{{1,6}})?)?",
    ),
    "guidance_scale": Field("Guidance of both streams; 1 is off.", "number", 0, 20),
    "seed": Field("Seed of the noise; left out: a random one.", "integer", 0, MAX_SEED),
    "generate_sound": Field("Whether the clip has sound.", "boolean"),
    "quality": Field("How much work goes into it.", choices=tuple(QUALITIES)),
    "pipeline": Field("One of the official pipelines.", choices=_PIPELINES),
    "reference_frames": Field(
        "Frame of each input_reference, 0 the first, -1 the last; left out: the first picture at "
        "the first frame, a second one at the last.",
        "integers",
    ),
    "reference_strength": Field("How exactly references are held.", "number", 0, 1),
}
# Arguments of a call that have no word of their own in requests.
FURTHER: Mapping[str, Field] = {
    "sigmas": Field("Noise levels instead of steps, descending to 0.", "numbers"),
    "decoder": Field("What decodes the pictures (LTX-2.5).", choices=("conv", "diffusion")),
    "two_stage": Field("Make it at half size first and refine it.", "boolean"),
    "temporal_upscale": Field("Double the frame rate of the finished latents.", "boolean"),
    "generated_keyframes": Field("Frames at which LTX-2.5 generates keyframes.", "integers"),
    "enhance_prompt": Field("Have the prompt written out first.", "boolean"),
    "enhanced_prompt": Field("What an earlier call made of the prompt.", most=MAX_PROMPT),
}
# Name of a field -> name in the request, where they differ.
NAMES: Mapping[str, str] = {
    "fps": "frame_rate",
    "num_inference_steps": "steps",
    "generate_sound": "audio",
}


def read_fields(
    values: Mapping[str, Any], fields: Mapping[str, Field], *, required: Sequence[str] = ("prompt",)
) -> dict[str, Any]:
    """Return the fields of a request by their names in it.

    Raises:
        FieldError: one is unknown, missing, or has a wrong value.
    """
    read = read_values(values, fields, required=required)
    return {NAMES.get(name, name): value for name, value in read.items()}


def read_values(
    values: Mapping[str, Any], fields: Mapping[str, Field], *, required: Sequence[str]
) -> dict[str, Any]:
    """Return the values of fields by their own names; what is None counts as left out.

    Raises:
        FieldError: one is unknown, missing, or has a wrong value.
    """
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise FieldError(name[:64], f"is no field of this request{hint}", "unknown_field")
    read = {
        name: fields[name].read(name, value) for name, value in values.items() if value is not None
    }
    for name in required:
        if name not in read:
            raise FieldError(name, "is missing", "missing_field")
    return read


def with_size(request: dict[str, Any]) -> dict[str, Any]:
    """Return a request whose size is a width and a height.

    Raises:
        FieldError: fields for size or length exclude each other.
    """
    if "size" in request:
        if "width" in request or "height" in request:
            raise FieldError("size", "excludes width and height")
        width, height = map(int, request["size"].split("x"))
        request = {**request, "width": width, "height": height}
    if ("width" in request) != ("height" in request):
        raise FieldError("width", "goes with height; give both, or size")
    if "num_frames" in request and "seconds" in request:
        raise FieldError("num_frames", "excludes seconds")
    if "seconds" in request and not float(request["seconds"]):
        raise FieldError("seconds", "expected more than 0")
    return request


def placed(inputs: list[dict[str, Any]], request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return pictures and videos with the frames that a request puts them at.

    Raises:
        FieldError: it has frames for another number of them.
    """
    shown = [each for each in inputs if each["kind"] != "sound"]
    frames = request.get("reference_frames")
    if frames is None:
        if len(shown) > 2:
            raise FieldError("reference_frames", f"is missing: {len(shown)} references are given")
        frames = [0, -1][: len(shown)]
    if len(frames) != len(shown):
        raise FieldError(
            "reference_frames", f"expected {len(shown)}, as many as references, found {len(frames)}"
        )
    strength = request.get("reference_strength", 1.0)
    for each, frame in zip(shown, frames, strict=True):
        each.update(frame=frame, strength=strength)
    return inputs
