"""LoRAs matched with the weights of a model.

The factors of each adapter are attached to the weights that they change; the core adds them when it
loads the weights, or computes them beside the weights at run time.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ltx2cpp.checkpoint import LowRankPair, WeightChange
from ltx2cpp.errors import ArgumentError, CheckpointError, WeightError
from ltx2cpp.model.adapter_modules import ModuleNames, Place, is_text_encoder_module
from ltx2cpp.model.components import Component
from ltx2cpp.model.detect import COMPONENT_TITLES, stated_version
from ltx2cpp.model.lora_file import LoraFile, StoredChange, open_lora_file
from ltx2cpp.model.names import place_module
from ltx2cpp.options import LORA_MODES, LoraMode, LoraSpec

if TYPE_CHECKING:
    from ltx2cpp.model.model_set import ModelSet

logger = logging.getLogger("ltx2cpp")

_MAX_LISTED = 12

_Generation = Literal["2.0", "2.3"]
_FILE_GENERATIONS = (
    (re.compile(r"ltx-?_?2[._-]?5(?!\d)"), "2.5"),
    (re.compile(r"ltx-?_?2[._-]?3(?!\d)|(?<!\d)22b"), "2.3"),
    (re.compile(r"(?<!\d)19b"), "2.0"),
)
# Rows of the modulation per channel: six in 2.0, nine since 2.3.
_MODULATION_ROWS: dict[int, _Generation] = {6: "2.0", 9: "2.3"}
_MODULATION_WEIGHTS = ("adaln_single.linear.weight", "audio_adaln_single.linear.weight")
_CONNECTOR_BLOCKS_20 = 2


@dataclass(frozen=True)
class Lora:
    """A LoRA matched with a model.

    Attributes:
        spec: what the user gave.
        kind: "LoRA", or "LoHa", "LoKr" and "DoRA", which are always merged into the weights.
        num_weights: weights that it changes.
        rank: largest rank of its factors.
        unmatched: keys and modules that nothing in the model answers to.
        reference_downscale_factor: how many times smaller than the clip an IC-LoRA wants its
            reference video; 1 for other LoRAs.
        reference_temporal_scale_factor: the same for frames.
    """

    spec: LoraSpec
    kind: str
    num_weights: int
    rank: int
    unmatched: tuple[str, ...]
    reference_downscale_factor: int
    reference_temporal_scale_factor: int

    @property
    def wants_reference(self) -> bool:
        """Whether its metadata ask for a reference of another size or rate."""
        return (self.reference_downscale_factor, self.reference_temporal_scale_factor) != (1, 1)


def check_lora_mode(mode: str) -> LoraMode:
    """Return the mode.

    Raises:
        ArgumentError: not one of `LORA_MODES`.
    """
    if mode not in LORA_MODES:
        raise ArgumentError(f"lora_mode: expected one of {', '.join(LORA_MODES)}, found {mode!r}")
    return cast("LoraMode", mode)


class AdaptedModels:
    """A model with LoRAs: each file is opened and matched with the model once.

    Args:
        models: the model without LoRAs.
        mode: how LoRAs reach the weights.
    """

    def __init__(self, models: ModelSet, mode: LoraMode = "auto") -> None:
        self.bare = models
        self._mode = mode
        self._names = ModuleNames(models)
        self._matched: dict[Path, _MatchedLora] = {}
        self._adapted: dict[tuple[LoraSpec, ...], ModelSet] = {(): models}

    def match(self, specs: Sequence[LoraSpec]) -> tuple[Lora, ...]:
        """Return a description of each LoRA.

        Raises:
            ArgumentError: something else than a LoraSpec, or the mode "runtime" and an adapter that
                can only be merged.
            CheckpointError: a file cannot be read, or is no LoRA.
            UnsupportedError: an adapter of a kind that is not read.
            WeightError: a LoRA fits no module of the model, or not in shape, or is for another
                generation.
        """
        if isinstance(specs, LoraSpec) or not all(isinstance(spec, LoraSpec) for spec in specs):
            raise ArgumentError(f"loras: expected a list of LoraSpec, found {specs!r:.100}")
        return tuple(self._match(spec).describe(spec) for spec in specs)

    def with_loras(self, specs: tuple[LoraSpec, ...]) -> ModelSet:
        """Return the model with LoRAs attached to the weights they change.

        LoRAs on one weight sum up; one with the strength 0 is checked and left out. Components
        without any are the same objects as in the bare model, and equal LoRAs give the same model.

        Raises:
            Error: as `match`.
        """
        if specs not in self._adapted:
            self._adapted[specs] = self._attach(specs)
        return self._adapted[specs]

    def take_enhancer(self, enhancer: ModelSet) -> None:
        """Take the prompt enhancer of another model set; all other components stay."""
        self._adapted = {
            specs: models.with_enhancer(enhancer) for specs, models in self._adapted.items()
        }
        self.bare = self._adapted[()]

    def changes_text(self, spec: LoraSpec) -> bool:
        """Return whether a LoRA changes more than the transformer."""
        return any(component != "transformer" for component, _ in self._match(spec).changes)

    def _match(self, spec: LoraSpec) -> _MatchedLora:
        path = Path(spec.path)
        if path not in self._matched:
            matched = _match(open_lora_file(path), self._names)
            if self._mode == "runtime" and matched.kind != "LoRA":
                raise ArgumentError(
                    f"lora_mode: 'runtime' computes plain LoRAs beside the weights, and {path} is "
                    f"a {matched.kind}, which is merged into them; take 'auto' or 'merge'"
                )
            self._matched[path] = matched
        return self._matched[path]

    def _attach(self, specs: tuple[LoraSpec, ...]) -> ModelSet:
        additions: dict[str, dict[str, list[LowRankPair | WeightChange]]] = {}
        for spec in specs:
            if spec.strength == 0:
                logger.warning("%s: has the strength 0 and changes nothing", spec.path)
                continue
            for (component, weight), change in self._match(spec).changes.items():
                scaled = change.scaled(spec.strength)
                additions.setdefault(component, {}).setdefault(weight, []).append(scaled)
        components: dict[str, Any] = {
            component: _with_changes(getattr(self.bare, component), changes)
            for component, changes in additions.items()
        }
        return dataclasses.replace(self.bare, **components)


def _with_changes(
    component: Component, additions: Mapping[str, list[LowRankPair | WeightChange]]
) -> Component:
    tensors = dict(component.tensors)
    for name, parts in additions.items():
        tensors[name] = dataclasses.replace(
            tensors[name],
            low_rank=tuple(part for part in parts if isinstance(part, LowRankPair)),
            changes=tuple(part for part in parts if isinstance(part, WeightChange)),
        )
    return dataclasses.replace(component, tensors=tensors)


@dataclass(frozen=True)
class _MatchedLora:
    """A LoRA file with the weights of a model that it changes.

    Attributes:
        file: the file.
        changes: component and weight -> what changes it.
        unmatched: keys and modules that nothing in the model answers to.
    """

    file: LoraFile
    changes: Mapping[Place, StoredChange]
    unmatched: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.file.kind

    def describe(self, spec: LoraSpec) -> Lora:
        return Lora(
            spec,
            self.kind,
            len(self.changes),
            max(change.rank for change in self.changes.values()),
            self.unmatched,
            self.file.reference_downscale_factor,
            self.file.reference_temporal_scale_factor,
        )


def _match(file: LoraFile, names: ModuleNames) -> _MatchedLora:
    path = file.file.path
    placed = [(change, names.place(change.module)) for change in file.changes]
    _check_generation(file, [(place, change) for change, place in placed if place], names.version)
    changes: dict[Place, StoredChange] = {}
    unmatched = list(file.strangers)
    for change, place in placed:
        if place is None or not names.has(place):
            unmatched.append(change.module)
            continue
        if place in changes:
            raise CheckpointError(
                f"{path}: '{changes[place].module}' and '{change.module}' both change "
                f"'{place[1]}'; a LoRA changes a weight once"
            )
        _check_shape(path, place, change, names.shape(place))
        changes[place] = change
    text_modules = [name for name in unmatched if is_text_encoder_module(name)]
    if not changes:
        raise _nothing_matched(file, text_modules, names)
    if unmatched:
        logger.warning(
            "%s: %d of its keys match nothing in the model and are left out: %s",
            path,
            len(unmatched),
            _listed(unmatched),
        )
    if text_modules and not names.has_component("text_encoder"):
        logger.warning(
            "%s: %d of its modules are of the text encoder, of which no file was given; it may "
            "show less than it was trained to",
            path,
            len(text_modules),
        )
    return _MatchedLora(file, changes, tuple(unmatched))


def _nothing_matched(file: LoraFile, text_modules: list[str], names: ModuleNames) -> WeightError:
    path = file.file.path
    if text_modules and not names.has_component("text_encoder"):
        return WeightError(
            f"{path}: this LoRA is for the text encoder ('{text_modules[0]}'), of which no file "
            "was given; give it (text_encoder=, --text-encoder), or leave the LoRA out"
        )
    if text_modules:
        return WeightError(
            f"{path}: this LoRA is for a text encoder with other modules than the one given ('"
            f"{text_modules[0]}'); use the one made for it"
        )
    return WeightError(
        f"{path}: none of the {len(file.changes)} modules of this LoRA is in the model (the first "
        f"is '{file.changes[0].module}'); it was made for another model, or for a part that the "
        "files lack"
    )


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _check_shape(path: Path, place: Place, change: StoredChange, shape: tuple[int, ...]) -> None:
    if change.shape != shape:
        component, weight = place
        raise WeightError(
            f"{path}: changes '{weight}' of the {COMPONENT_TITLES[component]} by a matrix of "
            f"{list(change.shape)}, but the weight has {list(shape)}; the LoRA was made for "
            "another model"
        )


def _check_generation(
    file: LoraFile, changes: Sequence[tuple[Place, StoredChange]], version: str
) -> None:
    """Refuse a LoRA of another generation: most shapes coincide, so it would load and do harm.

    2.3 and 2.5 differ in little; a LoRA of one is applied to the other with a warning.
    """
    if not version:
        return
    path = file.file.path
    by_modules: str | None = _generation_of_modules(changes)
    if by_modules is not None and (by_modules == "2.0") != (version == "2.0"):
        raise WeightError(
            f"{path}: this LoRA is for LTX-{by_modules} (it changes modules that only that has), "
            f"the model is LTX-{version}; use the one made for it"
        )
    claim: str | None = stated_version(file.file)
    if claim is not None and (claim == "2.0") != (version == "2.0"):
        raise WeightError(
            f"{path}: its metadata says that this LoRA is for LTX-{claim}, the model is "
            f"LTX-{version}; use the one made for it"
        )
    if claim is None:
        claim = _version_in_name(path)
        # Modules prove more than a name does; 2.3 and 2.5 share their modules.
        if by_modules is not None and claim == "2.0":
            claim = None
    if claim is not None and claim != version:
        logger.warning(
            "%s: this LoRA seems to be for LTX-%s, the model is LTX-%s; it may do harm",
            path,
            claim,
            version,
        )


def lora_generation(file: LoraFile) -> str:
    """Return the model version that a LoRA is for, by its modules, metadata or name; "" unknown."""
    changes = [(place, change) for change in file.changes if (place := place_module(change.module))]
    claim = stated_version(file.file) or _version_in_name(file.file.path)
    by_modules = _generation_of_modules(changes)
    # 2.3 and 2.5 share their modules, which prove only that it is not for 2.0.
    if by_modules is None or (by_modules == "2.3" and claim == "2.5"):
        return claim or ""
    return by_modules


def _version_in_name(path: Path) -> str | None:
    name = path.name.lower()
    return next((title for pattern, title in _FILE_GENERATIONS if pattern.search(name)), None)


def _generation_of_modules(changes: Iterable[tuple[Place, StoredChange]]) -> _Generation | None:
    """Return the generation that has all these modules; "2.3" stands for everything since."""
    for (component, weight), change in changes:
        stem = weight.partition(".")[0]
        rows, columns = change.shape
        if component == "transformer":
            if ".to_gate_logits." in weight or "prompt_adaln_single" in stem:
                return "2.3"
            if "caption_projection" in stem:
                return "2.0"
            generation = _MODULATION_ROWS.get(rows // columns)
            if generation is not None and weight in _MODULATION_WEIGHTS:
                return generation
        elif component == "text_projection":
            return "2.0" if stem == "aggregate_embed" else "2.3"
        elif ".to_gate_logits." in weight or _block_number(weight) >= _CONNECTOR_BLOCKS_20:
            return "2.3"
    return None


def _block_number(weight: str) -> int:
    match = re.match(r"transformer_1d_blocks\.(\d{1,4})\.", weight)
    return int(match[1]) if match else -1


def reference_factors(loras: Sequence[Lora]) -> tuple[int, int]:
    """Return how many times smaller, and slower, the LoRAs want their reference video.

    Raises:
        ArgumentError: two of them want different ones.
    """
    paths = {
        (lora.reference_downscale_factor, lora.reference_temporal_scale_factor): lora.spec.path
        for lora in loras
    }
    paths.pop((1, 1), None)
    if len(paths) > 1:
        (first, path), (second, other) = list(paths.items())[:2]
        raise ArgumentError(
            f"loras: {path} wants references {first[0]} times smaller and {first[1]} times slower, "
            f"{other} {second[0]} and {second[1]} times; use one of them at a time"
        )
    return next(iter(paths), (1, 1))
