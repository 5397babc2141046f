"""The include and import rules hold, and the checker notices when they do not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    import sys

    spec = importlib.util.spec_from_file_location(
        "check_layers", ROOT / "tools" / "check_layers.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_layers"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_tree_keeps_the_rules(checker: ModuleType) -> None:
    assert [*checker.check_cpp(ROOT), *checker.check_python(ROOT)] == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("base/a.h", '#include "io/mapped_file.h"'),
        ("base/a.h", '#include "ggml.h"'),
        ("graph/a.cpp", '#include "ggml-backend.h"'),
        ("graph/a.cpp", '#include "weights/weight_store.h"'),
        ("kernels/a.cpp", '#include "ops/linear/linear.h"'),
        ("ops/x/a.cpp", '#include "nn/linear.h"'),
        ("weights/a.cpp", '#include "nn/linear.h"'),
        ("nn/a.cpp", '#include "runtime/runner.h"'),
        ("models/vae/a.cpp", '#include "models/gemma3/model.h"'),
        ("networks/a.h", "#include <pybind11/pybind11.h>"),
        ("bindings/a.cpp", "#  include <ggml.h>"),
        ("io/a.cpp", 'const char * value = getenv("X");'),
        ("stray.cpp", "int x;"),
        ("unheard/of.cpp", "int x;"),
    ],
)
def test_a_breach_in_cpp_is_found(
    checker: ModuleType, tmp_path: Path, name: str, line: str
) -> None:
    write(tmp_path, f"csrc/{name}", f"#pragma once\n{line}\n")
    (breach,) = checker.check_cpp(tmp_path)
    assert breach.startswith(f"csrc/{name}")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("models/vae/a.cpp", '#include "models/vae/config.h"'),
        ("models/vae/a.cpp", '#include "nn/linear.h"'),
        ("bindings/testing.cpp", '#include "ggml.h"'),
        ("base/a.h", "#include <vector>"),
    ],
)
def test_what_is_allowed_in_cpp_passes(
    checker: ModuleType, tmp_path: Path, name: str, line: str
) -> None:
    write(tmp_path, f"csrc/{name}", f"{line}\n")
    assert [*checker.check_cpp(tmp_path)] == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pipeline.py", "from ltx2cpp import _core"),
        ("pipeline.py", "import ltx2cpp._core"),
        ("networks/video.py", "from ltx2cpp.cli import main"),
        ("networks/video.py", "from ltx2cpp.generation.plan import Plan"),
        ("sampling/denoising.py", "from ltx2cpp.networks.transformer import Transformer"),
        ("cli/commands/generate.py", "from ltx2cpp.networks.backend import Backend"),
        ("cli/commands/generate.py", "from ltx2cpp import latents"),
        ("conditioning/items.py", "import av"),
        ("text/tokenizer.py", "import torch"),
        ("stray.py", "import math"),
        ("media/video.py", "from ltx2cpp.latents import ClipShape"),
        ("latents.py", "print(1)"),
        ("latents.py", "value = os.environ['X']"),
        ("latents.py", "sys.exit(1)"),
    ],
)
def test_a_breach_in_python_is_found(
    checker: ModuleType, tmp_path: Path, name: str, line: str
) -> None:
    write(tmp_path, f"ltx2cpp/{name}", f"import os, sys\n{line}\n")
    (breach,) = checker.check_python(tmp_path)
    assert breach.startswith(f"ltx2cpp/{name}:")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("networks/video.py", "from ltx2cpp import _core"),
        ("networks/video.py", "import math\nimport numpy as np"),
        ("cli/commands/devices.py", "from ltx2cpp import _core"),
        ("cli/commands/generate.py", "from ltx2cpp import LTX2Pipeline, media"),
        ("cli/commands/generate.py", "print(1)"),
        ("pipeline.py", "if TYPE_CHECKING:\n    from ltx2cpp import _core"),
    ],
)
def test_what_is_allowed_in_python_passes(
    checker: ModuleType, tmp_path: Path, name: str, line: str
) -> None:
    write(tmp_path, f"ltx2cpp/{name}", f"{line}\n")
    assert [*checker.check_python(tmp_path)] == []
