"""Where the parts of a model compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ltx2cpp.errors import ArgumentError

if TYPE_CHECKING:
    from typing_extensions import Self

Part = Literal["encode", "denoise", "decode"]

# Conditional, unconditional, perturbed, isolated.
MOST_PASSES = 4

PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Devices:
    """A device for each part of a model: "cpu", "cuda", "cuda:1" or "auto".

    Attributes:
        encode: of the text encoder and its connectors, and of the encoders of pictures and sound.
        denoise: of the transformer and the latent upsamplers.
        decode: of the decoders of pictures and sound.
        guidance: devices of further processes, which share the passes of guidance in each step with
            the one that denoises; a name as often as there are processes on it.

    Raises:
        ArgumentError: one is no name, or there are more processes than passes.

    Example:
        >>> LTX2Pipeline(files, device=Devices(encode="cpu", denoise="cuda:0", decode="cuda:1"))
    """

    encode: str = "auto"
    denoise: str = "auto"
    decode: str = "auto"
    guidance: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        further: list[tuple[str, str]] = [("denoise", name) for name in self.guidance]
        for part, name in (*self.by_part.items(), *further):
            if not isinstance(name, str) or not name or set(name) & set(",=+ "):
                raise ArgumentError(
                    f"device: expected the name of a device to {part} on, found {name!r:.60}"
                )
        if len(self.guidance) >= MOST_PASSES:
            raise ArgumentError(
                f"device: a step has at most {MOST_PASSES} passes, found "
                f"{len(self.guidance) + 1} devices to denoise on"
            )

    @classmethod
    def spelled(cls, text: str) -> Self:
        """Return what a text asks for: DEVICE for all parts, or PART=DEVICE with commas between.

        Parts that are left out are put on "auto". Where DEVICE is several with "+" between, each
        has a process that denoises; all other parts are on the first.

        Raises:
            ArgumentError: it names a part that there is not, or one twice, or no device.
        """
        if "=" not in text:
            first, *further = text.split("+")
            return cls(first, first, first, tuple(further))
        by_part: dict[str, str] = {}
        for each in text.split(","):
            part, equals, name = each.partition("=")
            if part not in PARTS or not equals:
                raise ArgumentError(
                    f"device: expected PART=DEVICE with one of {', '.join(PARTS)} as PART, found "
                    f"{each!r:.60}"
                )
            if part in by_part:
                raise ArgumentError(f"device: {part} is given twice, in {text!r:.100}")
            by_part[part] = name
        first, *further = by_part.pop("denoise", "auto").split("+")
        return cls(**by_part, denoise=first, guidance=tuple(further))

    @property
    def by_part(self) -> Mapping[Part, str]:
        """The names of all parts."""
        return {"encode": self.encode, "denoise": self.denoise, "decode": self.decode}

    def __str__(self) -> str:
        return spell_parts(self.by_part, self.guidance)


def spell_parts(by_part: Mapping[Part, str], guidance: tuple[str, ...]) -> str:
    """Return names of devices as `Devices.spelled` takes them, those of parts once if the same."""
    denoise = "+".join((by_part["denoise"], *guidance))
    if len(set(by_part.values())) == 1:
        return denoise
    return ",".join(f"{p}={n}" for p, n in {**by_part, "denoise": denoise}.items())
