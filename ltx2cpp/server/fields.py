"""The fields of requests, listed once: what they may hold is checked and published from here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ltx2cpp.generation.pipelines import PIPELINES
from ltx2cpp.generation.qualities import QUALITIES
from ltx2cpp.server.failures import invalid

MAX_SEED = 2**53 - 1  # the largest that every JSON reader keeps
MAX_PROMPT = 16 << 10
_WHOLE = re.compile(r"-?\d{1,16}")
_TRUE, _FALSE = ("true", "1"), ("false", "0")


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes:
        about: what it does, for the published description.
        kind: "string", "integer", "number", "boolean", or "integers" (a list).
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
        if self.kind == "integers":
            return {
                "description": self.about,
                "anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "string"}],
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
            ApiError: it is of another kind, or out of range.
        """
        read = getattr(self, f"_read_{self.kind}")(name, value)
        size = len(read.encode("utf-8", "replace")) if isinstance(read, str) else read
        for bound, fails in ((self.least, "at least"), (self.most, "at most")):
            if bound is None or isinstance(read, list):
                continue
            if (size < bound) if fails == "at least" else (size > bound):
                unit = " bytes" if isinstance(read, str) else ""
                raise invalid(name, f"expected {fails} {bound:g}{unit}, found {size}{unit}")
        return read

    def _read_string(self, name: str, value: Any) -> str:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.pattern:
            value = f"{value:g}"
        if not isinstance(value, str):
            raise invalid(name, f"expected text, found {value!r:.40}")
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise invalid(name, "holds characters that are no text")
        if self.pattern is not None and not re.fullmatch(self.pattern, value, re.ASCII):
            raise invalid(name, f"expected text of the form {self.pattern}, found {value!r:.60}")
        if self.choices and value not in self.choices:
            raise invalid(
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
            raise invalid(name, f"expected a whole number, found {value!r:.40}")
        return value

    def _read_number(self, name: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise invalid(name, f"expected a number, found {value!r:.40}")
        return number

    def _read_boolean(self, name: str, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in (*_TRUE, *_FALSE):
            return value.lower() in _TRUE
        raise invalid(name, f"expected true or false, found {value!r:.40}")

    def _read_integers(self, name: str, value: Any) -> list[int]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list) or len(parts) > _MOST_REFERENCES:
            raise invalid(name, f"expected whole numbers separated by commas, found {value!r:.60}")
        return [
            self._read_integer(name, part.strip() if isinstance(part, str) else part)
            for part in parts
        ]


_MOST_REFERENCES = 16
_PIPELINES = tuple(name for name, spec in PIPELINES.items() if spec.video)
_PROMPT = Field("What the clip shows.", least=1, most=MAX_PROMPT)
_SECONDS = Field(
    "Length of the clip in seconds; the nearest 8 k + 1 frames are made.",
    pattern=r"\d{1,3}(\.\d{1,6})?",
)

# Beside what OpenAI's interface has: what other servers of it take, under their names.
CREATE: Mapping[str, Field] = {
    "prompt": _PROMPT,
    "model": Field("Name of a model; see /v1/models. Left out: the first of them.", most=200),
    "seconds": _SECONDS,
    "size": Field("Width and height in pixels.", pattern=r"\d{1,5}x\d{1,5}"),
    "width": Field("Pixels; instead of size.", "integer", 1, 99999),
    "height": Field("Pixels; instead of size.", "integer", 1, 99999),
    "snap": Field("Take the nearest valid size instead of refusing others.", "boolean"),
    "num_frames": Field("Frames, 8 k + 1; instead of seconds.", "integer", 1, 100_000),
    "fps": Field("Frames per second.", "number", 1, 120),
    "negative_prompt": Field("What to avoid; of guided models only.", most=MAX_PROMPT),
    "num_inference_steps": Field("Denoising steps.", "integer", 1, 200),
    "guidance_scale": Field("Guidance of both streams; 1 is off.", "number", 0, 20),
    "seed": Field("Seed of the noise; left out: a random one.", "integer", 0, MAX_SEED),
    "generate_sound": Field("Whether the clip has sound.", "boolean"),
    "quality": Field("How much work goes into it.", choices=tuple(QUALITIES)),
    "pipeline": Field("One of the official pipelines.", choices=_PIPELINES),
    "priority": Field("Jobs of a higher one are made first.", "integer", -10, 10),
    "reference_frames": Field(
        "Frame of each input_reference, 0 the first, -1 the last; left out: the first picture at "
        "the first frame, a second one at the last.",
        "integers",
    ),
    "reference_strength": Field("How exactly references are held.", "number", 0, 1),
    "user": Field("Kept with the job; has no effect.", most=512),
}
REMIX: Mapping[str, Field] = {
    "prompt": _PROMPT,
    "seed": Field("Left out: that of the clip.", "integer", 0, MAX_SEED),
}
EXTENSION: Mapping[str, Field] = {
    "prompt": _PROMPT,
    "seconds": _SECONDS,
    "model": CREATE["model"],
    "seed": CREATE["seed"],
    "num_inference_steps": CREATE["num_inference_steps"],
    "guidance_scale": CREATE["guidance_scale"],
    "negative_prompt": CREATE["negative_prompt"],
    "generate_sound": CREATE["generate_sound"],
    "priority": CREATE["priority"],
    "user": CREATE["user"],
}
EDIT: Mapping[str, Field] = {
    **{name: field for name, field in EXTENSION.items() if name != "seconds"},
    "start_s": Field("Second from which it is made anew.", "number", 0, 3600),
    "end_s": Field("Second up to which it is made anew; left out: the end.", "number", 0, 3600),
}
