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

from ltx2cpp.checkpoint import LowRankPair
from ltx2cpp.errors import ArgumentError, CheckpointError, UnsupportedError, WeightError
from ltx2cpp.model.components import Component
from ltx2cpp.model.detect import COMPONENT_TITLES, stated_version
from ltx2cpp.model.lora_file import LoraFile, StoredPair, open_lora_file
from ltx2cpp.model.names import Group, is_text_encoder_module, place_module, spell_module
from ltx2cpp.options import LORA_MODES, LoraMode, LoraSpec

if TYPE_CHECKING:
    from ltx2cpp.model.model_set import ModelSet

logger = logging.getLogger("ltx2cpp")

# Components whose weights LoRAs change; also their attributes in a ModelSet.
_COMPONENTS: tuple[Group, ...] = (
    "transformer",
    "video_connector",
    "audio_connector",
    "text_projection",
)
_WEIGHT = ".weight"
# Names in which underscores stand for dots, and what may follow the first part.
_FLAT_PREFIXES = ("lora_unet_", "lycoris_")
_FLAT_ROOTS = ("", "model_", "diffusion_model_", "model_diffusion_model_", "transformer_")
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
        num_weights: weights that it changes.
        rank: largest rank of its pairs.
        unmatched: keys and modules that nothing in the model answers to.
        reference_downscale_factor: how many times smaller than the clip an IC-LoRA wants its
            reference video; 1 for other LoRAs.
        reference_temporal_scale_factor: the same for frames.
    """

    spec: LoraSpec
    num_weights: int
    rank: int
    unmatched: tuple[str, ...]
    reference_downscale_factor: int
    reference_temporal_scale_factor: int


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
    """

    def __init__(self, models: ModelSet) -> None:
        self.bare = models
        self._names = _Names(models)
        self._matched: dict[Path, _MatchedLora] = {}
        self._adapted: dict[tuple[LoraSpec, ...], ModelSet] = {(): models}

    def match(self, specs: Sequence[LoraSpec]) -> tuple[Lora, ...]:
        """Return a description of each LoRA.

        Raises:
            ArgumentError: something else than a LoraSpec.
            CheckpointError, UnsupportedError: a file cannot be read, or is no plain LoRA.
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

    def changes_text(self, spec: LoraSpec) -> bool:
        """Return whether a LoRA changes more than the transformer."""
        return any(component != "transformer" for component, _ in self._match(spec).pairs)

    def _match(self, spec: LoraSpec) -> _MatchedLora:
        path = Path(spec.path)
        if path not in self._matched:
            self._matched[path] = _match(open_lora_file(path), self._names)
        return self._matched[path]

    def _attach(self, specs: tuple[LoraSpec, ...]) -> ModelSet:
        additions: dict[str, dict[str, list[LowRankPair]]] = {}
        for spec in specs:
            if spec.strength == 0:
                logger.warning("%s: has the strength 0 and changes nothing", spec.path)
                continue
            for (component, weight), pair in self._match(spec).pairs.items():
                low_rank = LowRankPair(pair.down, pair.up, spec.strength * pair.factor)
                additions.setdefault(component, {}).setdefault(weight, []).append(low_rank)
        components: dict[str, Any] = {
            component: _with_low_rank(getattr(self.bare, component), pairs)
            for component, pairs in additions.items()
        }
        return dataclasses.replace(self.bare, **components)


def _with_low_rank(component: Component, pairs: Mapping[str, list[LowRankPair]]) -> Component:
    tensors = dict(component.tensors)
    for name, low_rank in pairs.items():
        tensors[name] = dataclasses.replace(tensors[name], low_rank=tuple(low_rank))
    return dataclasses.replace(component, tensors=tensors)


_Place = tuple[Group, str]


class _Names:
    """Finds the weight that a module of an adapter means."""

    def __init__(self, models: ModelSet) -> None:
        self.models = models
        self.components: dict[Group, Component] = {
            name: getattr(models, name) for name in _COMPONENTS if getattr(models, name) is not None
        }
        self._flat: dict[str, _Place] | None = None

    def place(self, module: str) -> _Place | None:
        """Return component and canonical name of the weight, whether or not the model has it."""
        for prefix in _FLAT_PREFIXES:
            if module.startswith(prefix):
                return self._place_flat(module[len(prefix) :])
        return place_module(module)

    def has(self, place: _Place) -> bool:
        component, weight = place
        return component in self.components and weight in self.components[component].tensors

    def shape(self, place: _Place) -> tuple[int, ...]:
        component, weight = place
        return self.components[component].tensors[weight].info.shape

    def _place_flat(self, name: str) -> _Place | None:
        # Which underscores were dots cannot be seen (audio_to_video_attn, to_out_0): look it up.
        if self._flat is None:
            self._flat = {
                spelling.replace(".", "_"): (group, weight)
                for group, component in self.components.items()
                for weight, ref in component.tensors.items()
                if weight.endswith(_WEIGHT) and len(ref.info.shape) == 2
                for spelling in spell_module(group, weight.removesuffix(_WEIGHT))
            }
        for root in _FLAT_ROOTS:
            if name.startswith(root) and (place := self._flat.get(name[len(root) :])) is not None:
                return place
        return None


@dataclass(frozen=True)
class _MatchedLora:
    """A LoRA file with the weights of a model that its pairs change.

    Attributes:
        file: the file.
        pairs: component and weight -> the pair that changes it.
        unmatched: keys and modules that nothing in the model answers to.
    """

    file: LoraFile
    pairs: Mapping[_Place, StoredPair]
    unmatched: tuple[str, ...]

    def describe(self, spec: LoraSpec) -> Lora:
        return Lora(
            spec,
            len(self.pairs),
            max(pair.down.shape[0] for pair in self.pairs.values()),
            self.unmatched,
            self.file.reference_downscale_factor,
            self.file.reference_temporal_scale_factor,
        )


def _match(file: LoraFile, names: _Names) -> _MatchedLora:
    path = file.file.path
    pair_places = [(pair, names.place(pair.module)) for pair in file.pairs]
    _check_generation(
        file, [(place, pair) for pair, place in pair_places if place], names.models.version
    )
    pairs: dict[_Place, StoredPair] = {}
    unmatched = list(file.strangers)
    for pair, place in pair_places:
        if place is None or not names.has(place):
            unmatched.append(pair.module)
            continue
        if place in pairs:
            raise CheckpointError(
                f"{path}: '{pairs[place].module}' and '{pair.module}' both change '{place[1]}'; a "
                "LoRA changes a weight once"
            )
        _check_shape(path, place, pair, names.shape(place))
        pairs[place] = pair
    text_modules = [pair.module for pair in file.pairs if is_text_encoder_module(pair.module)]
    if not pairs and text_modules:
        raise UnsupportedError(
            f"{path}: this LoRA is for the text encoder ('{text_modules[0]}'); LoRAs of text "
            "encoders are not implemented, leave it out"
        )
    if not pairs:
        raise WeightError(
            f"{path}: none of the {len(file.pairs)} modules of this LoRA is in the model (the "
            f"first is '{file.pairs[0].module}'); it was made for another model, or for a part "
            "that the files lack"
        )
    if unmatched:
        logger.warning(
            "%s: %d of its keys match nothing in the model and are left out: %s",
            path,
            len(unmatched),
            _listed(unmatched),
        )
    if text_modules:
        logger.warning(
            "%s: %d of its modules are of the text encoder, whose LoRAs are not implemented; it "
            "may show less than it was trained to",
            path,
            len(text_modules),
        )
    return _MatchedLora(file, pairs, tuple(unmatched))


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _check_shape(path: Path, place: _Place, pair: StoredPair, shape: tuple[int, ...]) -> None:
    product_shape = (pair.up.shape[0], pair.down.shape[1])
    if product_shape != shape:
        component, weight = place
        raise WeightError(
            f"{path}: changes '{weight}' of the {COMPONENT_TITLES[component]} by a matrix of "
            f"{list(product_shape)}, but the weight has {list(shape)}; the LoRA was made for "
            "another model"
        )


def _check_generation(
    file: LoraFile, pairs: Sequence[tuple[_Place, StoredPair]], version: str
) -> None:
    """Refuse a LoRA of another generation: most shapes coincide, so it would load and do harm.

    2.3 and 2.5 differ in little; a LoRA of one is applied to the other with a warning.
    """
    if not version:
        return
    path = file.file.path
    by_modules: str | None = _generation_of_modules(pairs)
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
    pairs = [(place, pair) for pair in file.pairs if (place := place_module(pair.module))]
    claim = stated_version(file.file) or _version_in_name(file.file.path)
    by_modules = _generation_of_modules(pairs)
    # 2.3 and 2.5 share their modules, which prove only that it is not for 2.0.
    if by_modules is None or (by_modules == "2.3" and claim == "2.5"):
        return claim or ""
    return by_modules


def _version_in_name(path: Path) -> str | None:
    name = path.name.lower()
    return next((title for pattern, title in _FILE_GENERATIONS if pattern.search(name)), None)


def _generation_of_modules(pairs: Iterable[tuple[_Place, StoredPair]]) -> _Generation | None:
    """Return the generation that has all these modules; "2.3" stands for everything since."""
    for (component, weight), pair in pairs:
        stem = weight.partition(".")[0]
        rows, columns = pair.up.shape[0], pair.down.shape[1]
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
