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
    """What the files of one folder may use besides the standard library and each other.

    Attributes:
        folders: Folders beside it, and for Python modules beside it.
        external: Patterns of foreign headers or packages, matched as a whole.
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
    "kernels": Layer(
        frozenset({"base", "graph"}), (*_BUILDING, r"ggml-backend-impl\.h|ggml-cuda/.*")
    ),
    "ops": Layer(frozenset({"base", "graph", "kernels"}), (*_BUILDING, r"ggml-cpu\.h")),
    "weights": Layer(frozenset({"base", "graph", "io", "kernels"}), (_ANY_GGML,)),
    "runtime": Layer(_OPERATIONS, (_ANY_GGML,)),
    "nn": Layer(_OPERATIONS, _BUILDING),
    "models": Layer(_NETWORK, _BUILDING),
    "networks": Layer(_CORE, (_ANY_GGML,)),
    "bindings": Layer(_CORE | {"networks"}, (r"pybind11/.*",)),
    "levels": Layer(frozenset({"base"}), (r"Python\.h",)),
}
# Test hooks reach into everything.
_UNBOUND_CPP = frozenset({"bindings/testing.cpp"})

_CORE_MODULE = r"ltx2cpp\._core"
_ARRAYS = ("numpy",)
_VALUES = frozenset({"errors", "numeric", "paths", "values"})
_FILES = frozenset({"errors", "checkpoint", "paths"})
_GENERATION = _VALUES | {"devices", "latents", "options", "observing", "machine"}
_MODEL = _FILES | {"config", "text", "options"}

# A room or a module at the top of the package; "" is the package itself, its public names.
PYTHON_LAYERS = {
    "printable": Layer(frozenset()),
    "errors": Layer(frozenset({"printable"})),
    "paths": Layer(frozenset({"errors"})),
    "machine": Layer(frozenset({"errors"}), (_CORE_MODULE, "psutil")),
    "atomic": Layer(frozenset({"errors", "paths"})),
    "numeric": Layer(frozenset({"errors"})),
    "options": Layer(frozenset({"errors", "numeric", "paths"})),
    "devices": Layer(frozenset({"errors"})),
    "observing": Layer(frozenset({"machine"})),
    "values": Layer(frozenset({"errors", "atomic", "checkpoint"}), (*_ARRAYS, "safetensors")),
    "latents": Layer(_VALUES, _ARRAYS),
    # Files of models, from bytes to components; nothing here computes.
    "checkpoint": Layer(
        frozenset({"errors", "atomic", "machine", "paths"}), (*_ARRAYS, "gguf", "safetensors")
    ),
    "config": Layer(_FILES, _ARRAYS),
    "text": Layer(frozenset({"errors", "machine"}), (*_ARRAYS, "tokenizers", "sentencepiece")),
    "model": Layer(_MODEL, _ARRAYS),
    "convert": Layer(_MODEL | {"atomic", "machine", "model"}, (*_ARRAYS, "gguf", _CORE_MODULE)),
    # Media know clips, not models.
    "media": Layer(
        _VALUES | {"atomic", "checkpoint", "machine"},
        (*_ARRAYS, "Imath", "OpenEXR", "PIL", "av", _CORE_MODULE),
    ),
    "output": Layer(frozenset({"errors", "media", "paths", "values"})),
    "conditioning": Layer(_VALUES | {"latents", "media"}, _ARRAYS),
    # The loop knows no device and no file.
    "sampling": Layer(_VALUES | {"latents", "options", "observing", "conditioning"}, _ARRAYS),
    # Arithmetic on needs; who needs what is asked of the networks above.
    "memory": Layer(frozenset({"errors", "devices", "latents", "machine", "options"})),
    "networks": Layer(
        _GENERATION | _MODEL | {"atomic", "media", "memory", "model", "printable", "sampling"},
        (*_ARRAYS, "safetensors", _CORE_MODULE),
    ),
    # Reaches the network for models alone; what it asks for is named by the user.
    "hub": Layer(
        _FILES | {"atomic", "model", "observing", "options"}, (*_ARRAYS, "huggingface_hub")
    ),
    # Latents as small pictures; no network.
    "preview": Layer(
        _VALUES | {"atomic", "checkpoint", "latents", "media", "model"},
        (*_ARRAYS, "PIL", "safetensors"),
    ),
    "journal": Layer(
        frozenset({"errors", "atomic", "checkpoint", "values"}), (*_ARRAYS, "safetensors")
    ),
    "generation": Layer(
        _GENERATION
        | {"conditioning", "journal", "media", "memory", "model", "networks", "output"}
        | {"preview", "sampling", "text"},
        _ARRAYS,
    ),
    "demo": Layer(frozenset({"errors", "generation", "model"})),
    "pipeline": Layer(
        _GENERATION
        | {"demo", "generation", "hub", "journal", "memory", "model", "networks", "output"}
        | {"preview", "sampling"},
        _ARRAYS,
    ),
    "benchmark": Layer(frozenset({"generation", "model", "observing", "options", "pipeline"})),
    # What a request may say, and the call that it asks for; of the pipeline it opens one.
    "requests": Layer(
        frozenset({"conditioning", "errors", "generation", "latents", "media", "model"})
        | {"observing", "options", "pipeline"}
    ),
    # Its worker and its inspector use the pipeline, all else knows jobs and their words. A worker
    # on another machine reaches the server that the user names.
    "server": Layer(
        frozenset({"atomic", "demo", "errors", "generation", "media", "memory"})
        | {"observing", "output", "pipeline", "preview", "printable", "requests", "values"},
        (
            *(*_ARRAYS, "PIL", "prometheus_client", "python_multipart", "sse_starlette"),
            *("starlette", "uvicorn", "h11", "urllib3"),
        ),
    ),
    # Beside the server, which it does not know.
    "batch": Layer(
        frozenset({"atomic", "devices", "errors", "generation", "hub", "machine", "media", "model"})
        | {"observing", "options", "paths", "pipeline", "requests"},
        ("fsspec", "pyarrow", "ray"),
    ),
    "__main__": Layer(frozenset({"cli"})),
    "": Layer(
        frozenset(
            {"conditioning", "devices", "generation", "latents", "machine", "memory", "model"}
        )
        | {"observing", "options", "output", "pipeline", "values"},
        (_CORE_MODULE,),
    ),
    # The command line sees what users see, and the lists that its help prints.
    "cli": Layer(
        frozenset({"", "atomic", "batch", "benchmark", "convert", "demo", "devices", "errors"})
        | {
            "generation",
            "hub",
            "journal",
            "machine",
            "media",
            "model",
            "numeric",
            "observing",
            "options",
            "preview",
        }
        | {"printable", "requests", "server", "values"},
        (*_ARRAYS, "rich", _CORE_MODULE),
    ),
}
_PRINTING_ROOMS = ("cli", "__main__")

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
        room = "" if parts == ("__init__",) else parts[0]
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        layer = PYTHON_LAYERS.get(room)
        if layer is None:
            yield f"{path.relative_to(root)}: lies in no known layer"
            continue
        for line, name in _imports(tree):
            if why := _refused_import(room, layer, name):
                yield f"{path.relative_to(root)}:{line}: {why}"
        if room not in _PRINTING_ROOMS:
            for line, what in _side_effects(tree):
                yield f"{path.relative_to(root)}:{line}: only the command line {what}"


def _refused_import(room: str, layer: Layer, name: str) -> str | None:
    """Return why a room may not import a module, given by its whole name; None where it may."""
    package, _, module = name.partition(".")
    if package in sys.stdlib_module_names:
        return None
    if package == "ltx2cpp" and not module.startswith("_core"):
        target = module.partition(".")[0]
        allowed = target == room or target in layer.folders
    else:
        foreign = name if package == "ltx2cpp" else package
        allowed = any(re.fullmatch(pattern, foreign) for pattern in layer.external)
    return None if allowed else f"{room or 'ltx2cpp'} may not import {name}"


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and name of each module that is imported at run time."""
    for node in _running_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module == "ltx2cpp":
            # A submodule, or a public name of the package.
            for alias in node.names:
                public = alias.name != "_core" and not alias.name.islower()
                yield node.lineno, "ltx2cpp" if public else f"ltx2cpp.{alias.name}"
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


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
