"""A file of a model, its tensors sorted into components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ltx2cpp.checkpoint import CheckpointFile, TensorInfo, WeightRef
from ltx2cpp.checkpoint.files import read_json_file
from ltx2cpp.config import Fields, parse_config
from ltx2cpp.config.diffusers import official_config
from ltx2cpp.model.components import Component
from ltx2cpp.model.families import refuse_other_family
from ltx2cpp.model.names import Group, SortedTensors, sort_tensors
from ltx2cpp.model.packing import refuse_packed
from ltx2cpp.model.weight_scales import attach_scales, read_formats
from ltx2cpp.paths import is_file, is_folder

_DIFFUSERS_STEM = "diffusion_pytorch_model"


@dataclass(frozen=True)
class Source:
    """One opened file with its tensors sorted.

    Attributes:
        role: argument of `ModelFiles` that names the file.
        file: its header.
        tensors: the tensors by component.
    """

    role: str
    file: CheckpointFile
    tensors: SortedTensors = field(init=False)
    _formats: Mapping[str, Mapping[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        refuse_other_family(self.file)
        refuse_packed(self.file)
        object.__setattr__(self, "_formats", read_formats(self.file))
        object.__setattr__(self, "tensors", sort_tensors(self.file))

    @property
    def path(self) -> Path:
        return self.file.path

    def group(self, name: Group) -> dict[str, TensorInfo]:
        """Return the tensors of a component by canonical name; empty when there are none."""
        return self.tensors.groups.get(name, {})

    @cached_property
    def config(self) -> Fields:
        """The metadata entry `config`, or the file that diffusers writes beside; else empty."""
        where = f"{self.path}: config"
        if "config" in self.file.metadata or (beside := self._config_beside()) is None:
            return Fields(parse_config(self.file.metadata.get("config"), where), where)
        parsed = read_json_file(beside)
        return Fields(official_config(parsed) if isinstance(parsed, dict) else {}, str(beside))

    def _config_beside(self) -> Path | None:
        """Return the config.json of a component's folder; beside other files it is anyone's."""
        if not (is_folder(self.path) or self.path.name.startswith(_DIFFUSERS_STEM)):
            return None
        folder = self.path if is_folder(self.path) else self.path.parent
        path = folder / "config.json"
        return path if is_file(path) else None

    def weights(self, tensors: Mapping[str, TensorInfo]) -> dict[str, WeightRef]:
        """Return the weights among tensors of this file, each with its scales."""
        return attach_scales(tensors, str(self.path), self._formats)

    def component(self, tensors: Mapping[str, TensorInfo], config: Any) -> Component:
        """Return tensors of this file as a component."""
        return Component(self.weights(tensors), config, str(self.path))
