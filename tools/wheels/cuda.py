"""What a wheel with CUDA is built with, and what it says about itself.

cuBLAS and the runtime library are not in it: NVIDIA's packages on PyPI have them, and the wheel
needs those. The driver is of the machine, and need not be there (third_party/ggml/cuda_driver.cpp).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

# Of CUDA, in names of packages, of their folders and of libraries.
MAJOR = 13
# What the wheel is linked with.
BUILDERS = (f"nvidia-cublas=={MAJOR}.1.*", f"nvidia-cuda-runtime=={MAJOR}.0.*")
# What it runs with; libraries of one major version take each other's place.
_NEEDS = (f"nvidia-cublas>={MAJOR}.0,<{MAJOR + 1}", f"nvidia-cuda-runtime>={MAJOR}.0,<{MAJOR + 1}")
LIBRARIES = tuple(f"lib{name}.so.{MAJOR}" for name in ("cublas", "cublasLt", "cudart"))


def settings(packages: Path, architectures: str) -> dict[str, str]:
    """Return the settings of a build with CUDA.

    Args:
        packages: the folder into which `BUILDERS` were installed.
        architectures: of cards, as CMake names them, such as "80-real;90-real".
    """
    place = packages / "nvidia" / f"cu{MAJOR}"
    # Only cuBLAS's: the other headers have to be those of nvcc.
    headers = packages / "headers"
    headers.mkdir(exist_ok=True)
    for header in (place / "include").glob("cublas*.h"):
        link = headers / header.name
        link.unlink(missing_ok=True)
        link.symlink_to(header)
    return {
        "LTX2CPP_CUDA": "ON",
        "CMAKE_CUDA_ARCHITECTURES": architectures,
        "CMAKE_CUDA_FLAGS": f"-isystem {headers}",
        "CUDA_cublas_LIBRARY": str(place / "lib" / LIBRARIES[0]),
        "CUDA_cublasLt_LIBRARY": str(place / "lib" / LIBRARIES[1]),
        # From the package to its neighbour in the same environment.
        "CMAKE_INSTALL_RPATH": f"$ORIGIN/../nvidia/cu{MAJOR}/lib",
    }


def label(wheel: Path, python: Path) -> Path:
    """Give a wheel a version of its own, `+cu13`, and say what it needs besides.

    Args:
        python: has the package `wheel`.

    Returns:
        the wheel under its new name, in the same folder.
    """
    folder = wheel.parent / "unpacked"
    subprocess.run(
        [python, "-m", "wheel", "unpack", "--dest", folder, wheel], check=True, capture_output=True
    )
    (content,) = folder.iterdir()
    (information,) = content.glob("*.dist-info")
    metadata = information / "METADATA"
    text = metadata.read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(Version: .+)$", rf"\1+cu{MAJOR}", text, count=1)
    needs = "".join(f"Requires-Dist: {need}\n" for need in _NEEDS)
    text = re.sub(r"(?m)^Requires-Dist: ", lambda first: needs + first[0], text, count=1)
    metadata.write_text(text, encoding="utf-8")
    information.rename(content / f"{information.stem}+cu{MAJOR}.dist-info")
    wheel.unlink()
    subprocess.run(
        [python, "-m", "wheel", "pack", "--dest-dir", wheel.parent, content],
        check=True,
        capture_output=True,
    )
    (labelled,) = wheel.parent.glob("*.whl")
    return labelled
