"""Prints what the modules of a wheel take from the system: `python undefined.py WHEEL [GLIBC]`.

A line names the newest version of each library with one symbol that asks for it, such as
`GLIBC 2.34 (dlopen)`, and how many symbols are undefined, Python's own left out. Ends with 1 and a
sentence for each symbol that asks for a glibc newer than the one given, and for each that no
library is said to have. Runs where pyelftools is, which auditwheel brings.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Symbol:
    """A symbol that a module leaves to others.

    Args:
        module: name of the module inside the wheel.
        library: as versions call it, such as "GLIBC", or the whole version where it has no number,
            such as "libcudart.so.13"; empty where no version is asked for.
        version: empty where the version is no number.
    """

    module: str
    name: str
    library: str
    version: tuple[int, ...]


def dotted(version: tuple[int, ...]) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def read_elf(data: bytes) -> Any:
    """Return what the bytes of an ELF file say."""
    # Only where wheels are repaired; tests of the sentences do without.
    from elftools.elf.elffile import ELFFile

    return ELFFile(BytesIO(data))


def defined(data: bytes) -> set[str]:
    """Return the symbols that an ELF file has for others."""
    symbols = read_elf(data).get_section_by_name(".dynsym").iter_symbols()
    return {symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF"}


def undefined(module: str, data: bytes) -> Iterator[Symbol]:
    """Yield the undefined symbols of an ELF file, but for Python's and those it can do without."""
    elf = read_elf(data)
    needed = elf.get_section_by_name(".gnu.version_r")
    asked = elf.get_section_by_name(".gnu.version")
    for index, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
        python = symbol.name.startswith(("Py", "_Py"))
        weak = symbol["st_info"]["bind"] == "STB_WEAK"
        if symbol["st_shndx"] != "SHN_UNDEF" or not symbol.name or python or weak:
            continue
        number = asked.get_symbol(index)["ndx"] if asked else None
        # Names stand for the first two numbers, which mean that no version is asked for.
        entry = needed.get_version(number) if needed and isinstance(number, int) else None
        name = entry[1].name if entry else ""
        library, _, version = name.rpartition("_")
        if version[:1].isdigit():
            yield Symbol(module, symbol.name, library, tuple(map(int, version.split("."))))
        else:
            yield Symbol(module, symbol.name, name, ())


def symbols_of(wheel: Path) -> list[Symbol]:
    """Return the undefined symbols of all modules of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        modules = [name for name in archive.namelist() if name.endswith(".so")]
        # What modules of Python's define is not for others; they are opened each for itself.
        libraries = [name for name in modules if Path(name).name.startswith("lib")]
        own = {symbol for name in libraries for symbol in defined(archive.read(name))}
        found = (symbol for name in modules for symbol in undefined(name, archive.read(name)))
        return [symbol for symbol in found if symbol.library or symbol.name not in own]


def faults_of(symbols: Sequence[Symbol], glibc: tuple[int, ...]) -> list[str]:
    """Return a sentence for each symbol that a system with this glibc (empty: any) lacks."""
    faults = []
    for symbol in symbols:
        if not symbol.library:
            faults.append(f"{symbol.module}: no library is said to have {symbol.name}")
        elif symbol.library == "GLIBC" and glibc and symbol.version > glibc:
            faults.append(
                f"{symbol.module}: {symbol.name} asks for glibc {dotted(symbol.version)}, "
                f"newer than {dotted(glibc)}; compile on an older system"
            )
    return faults


def summary_of(symbols: Sequence[Symbol]) -> str:
    """Return the line about a wheel."""
    newest: dict[str, Symbol] = {}
    for symbol in symbols:
        other = newest.get(symbol.library)
        if symbol.version and (other is None or symbol.version > other.version):
            newest[symbol.library] = symbol
    parts = [f"{key} {dotted(one.version)} ({one.name})" for key, one in sorted(newest.items())]
    return f"{len({symbol.name for symbol in symbols})}: {', '.join(parts)}"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code."""
    symbols = symbols_of(Path(arguments[0]))
    faults = faults_of(symbols, tuple(map(int, arguments[1].split("."))) if arguments[1:] else ())
    print("\n".join(faults) or summary_of(symbols))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
