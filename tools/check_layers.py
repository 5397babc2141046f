"""Checks who may include or import whom; run from the repository root, prints one line per breach.

The tables below are the rules; docs/design.md has the reasons.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layer:
    """What the C++ files of one folder of csrc/ may include besides the standard library and it.

    Attributes:
        folders: Folders of csrc/.
        external: Patterns of headers of ggml and pybind11, matched as a whole.
    """

    folders: frozenset[str]
    external: tuple[str, ...] = ()


_ANY_GGML = r"(ggml|gguf)[\w-]*\.h"
_BUILDING = (r"ggml\.h", r"ggml-cpp\.h")
_OPERATIONS = frozenset({"base", "graph", "kernels", "ops", "weights"})
_NETWORK = _OPERATIONS | {"nn"}
_CORE = _NETWORK | {"io", "runtime", "models"}

CPP_LAYERS = {
    "base": Layer(frozenset()),
    "io": Layer(frozenset({"base"})),
    # Graphs are built without knowing where they will run.
    "graph": Layer(frozenset({"base"}), _BUILDING),
    # What operations are made of: matrix kernels, vector code, the hooks of a device.
    "kernels": Layer(frozenset({"base", "graph"}), (*_BUILDING, r"ggml-cuda/.*")),
    "ops": Layer(frozenset({"base", "graph", "kernels"}), (*_BUILDING, r"ggml-cpu\.h")),
    "weights": Layer(frozenset({"base", "io", "kernels"}), (_ANY_GGML,)),
    "runtime": Layer(_OPERATIONS, (_ANY_GGML,)),
    "nn": Layer(_OPERATIONS, _BUILDING),
    "models": Layer(_NETWORK, _BUILDING),
    "networks": Layer(_CORE, (_ANY_GGML,)),
    "bindings": Layer(_CORE | {"networks"}, (r"pybind11/.*",)),
}
# Test hooks reach into everything.
_UNBOUND_CPP = frozenset({"bindings/testing.cpp"})

# Python modules that may import the extension.
_CORE_USERS = frozenset(
    {
        *("stages", "audio_stages", "text_stages", "model_files", "convert", "errors"),
        *("benchmark", "cli.devices"),
    }
)
# What the command line and the server may use: the public API.
_FRONT_ENDS = ("cli", "server")
_PUBLIC = frozenset(
    {
        *("", "errors", "types", "options", "recipes", "progress", "media", "inspection"),
        *("convert", "benchmark", "_core"),
    }
)
# Media knows clips, not models.
_MEDIA_USES = frozenset({"errors", "types", "media"})

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
_EXTERNAL = re.compile(r"(ggml|gguf)[\w/.-]*|pybind11/.*|Python\.h")
_CPP_SUFFIXES = (".cpp", ".h", ".cu", ".cuh")
_ENVIRONMENT = re.compile(r"\b(?:secure_)?getenv\s*\(")


def check_cpp(root: Path) -> Iterator[str]:
    """Yield a sentence for each breach in csrc/ below ``root``."""
    source = root / "csrc"
    for path in sorted(p for p in source.rglob("*") if p.suffix in _CPP_SUFFIXES):
        relative = path.relative_to(source)
        text = path.read_text(encoding="utf-8")
        for match in _ENVIRONMENT.finditer(text):
            yield f"{_place(root, path, text, match.start())}: reads the environment"
        if relative.as_posix() in _UNBOUND_CPP:
            continue
        layer = CPP_LAYERS.get(relative.parts[0])
        if layer is None or len(relative.parts) == 1:
            yield f"{path.relative_to(root)}: lies in no known layer"
            continue
        for match in _INCLUDE.finditer(text):
            if why := _refused_include(relative, layer, match.group(2)):
                yield f"{_place(root, path, text, match.start(1))}: {why}"


def _refused_include(relative: Path, layer: Layer, header: str) -> str | None:
    folder = relative.parts[0]
    if _EXTERNAL.fullmatch(header):
        allowed = any(re.fullmatch(pattern, header) for pattern in layer.external)
        return None if allowed else f"{folder} may not include {header}"
    parts = header.split("/")
    if parts[0] not in CPP_LAYERS:
        return None
    if parts[0] != folder:
        return None if parts[0] in layer.folders else f"{folder} may not include {header}"
    if folder == "models" and parts[1] != relative.parts[1]:
        return f"one model may not include another ({header})"
    return None


def check_python(root: Path) -> Iterator[str]:
    """Yield a sentence for each breach in the package ltx2cpp below ``root``."""
    package = root / "ltx2cpp"
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for line, imported in _imports(tree):
            if why := _refused_import(module, imported):
                yield f"{path.relative_to(root)}:{line}: {why}"
        if parts[0] != "cli":
            for line, what in _side_effects(tree):
                yield f"{path.relative_to(root)}:{line}: only the command line {what}"


def _refused_import(module: str, imported: str) -> str | None:
    importer, target = module.split(".")[0], imported.split(".")[0]
    if target == "_core" and module not in _CORE_USERS:
        return f"{module or 'ltx2cpp'} may not import the extension"
    if target in _FRONT_ENDS and importer != target:
        return f"{module or 'ltx2cpp'} may not import {target}"
    if importer in _FRONT_ENDS and target != importer and target not in _PUBLIC:
        return f"{importer} may not import ltx2cpp.{imported}, which is not public"
    if importer == "media" and target not in _MEDIA_USES:
        return f"media may not import ltx2cpp.{imported}"
    return None


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and name below ltx2cpp of each import that happens at run time."""
    for node in _running_nodes(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "ltx2cpp":
            # A submodule or a public name; only the former matters.
            names = [
                f"ltx2cpp.{alias.name}" if alias.name == "_core" or alias.name.islower() else ""
                for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name == "ltx2cpp" or name.startswith("ltx2cpp."):
                yield node.lineno, name.partition(".")[2]


def _running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _running_nodes(node)


def _side_effects(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield node.lineno, "prints"
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "os._exit"):
            yield node.lineno, "exits"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv"):
            yield node.lineno, "reads the environment"


def _place(root: Path, path: Path, text: str, offset: int) -> str:
    return f"{path.relative_to(root)}:{text.count(chr(10), 0, offset) + 1}"


def main() -> int:
    """Check the tree and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="default: here")
    root = parser.parse_args().root
    breaches = [*check_cpp(root), *check_python(root)]
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
