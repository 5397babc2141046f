"""``ltx2cpp-cli models``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltx2cpp.cli.options.common import add_output_options
from ltx2cpp.cli.options.names import add_hub_options, open_hub
from ltx2cpp.cli.text import count_noun, spell_bytes
from ltx2cpp.errors import ArgumentError, HubError

if TYPE_CHECKING:
    from ltx2cpp.hub import Hub, ModelStatus


DESCRIPTION = """\
List the models that have names, and what is here of them. Nothing is asked of the network.

  list          all names (default)
  show NAME     the files of a model
  verify NAME   hash what is here of a model
  rm NAME       remove it, but for files that other complete models share
  add FOLDER    count the files of another program as fetched, wherever they lie; nothing is moved

"memory" compares the largest file with what this machine has free; `plan` knows exactly."""

EPILOG = """\
examples:
  ltx2cpp-cli models
  ltx2cpp-cli models show ltx-2.3-distilled:q4_k_m
  ltx2cpp-cli models add ~/other-program/models"""

_COLUMNS = "{:<28} {:>9} {:>9}  {:<18} {}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument(
        "action",
        nargs="?",
        default="list",
        choices=("list", "show", "verify", "rm", "add"),
        help="what to do (default: list)",
    )
    parser.add_argument("what", nargs="?", metavar="NAME", help="a name; for add a folder")
    add_hub_options(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> None:
    """Do it, and print the result."""
    action, what = arguments.action, arguments.what
    if (action == "list") != (what is None):
        expected = "no name" if action == "list" else "a folder" if action == "add" else "a name"
        raise ArgumentError(f"models {action}: expected {expected}")
    hub = open_hub(arguments)
    _ACTIONS[action](hub, what or "", arguments)


def _list(hub: Hub, _what: str, arguments: argparse.Namespace) -> None:
    models = hub.library.models()
    if arguments.json:
        print(json.dumps([_plain(model) for model in models], indent=2))
        return
    print(_COLUMNS.format("name", "size", "to fetch", "memory", "licence"))
    for model in models:
        missing = "here" if model.is_complete else spell_bytes(model.missing_bytes)
        licence = ", ".join(model.licences) + (" (gated)" if model.is_gated else "")
        size = spell_bytes(model.size_bytes)
        print(_COLUMNS.format(model.name, size, missing, _memory(model), licence))


def _show(hub: Hub, what: str, arguments: argparse.Namespace) -> None:
    model = hub.library.model(what)
    if arguments.json:
        print(json.dumps(_plain(model), indent=2))
        return
    print(f"{model.name}: {spell_bytes(model.size_bytes)}, memory: {_memory(model)}")
    for row, files in zip(model.rows, model.here, strict=True):
        where = "to fetch" if files is None else f"here: {files[0].path}"
        size = "ranges of" if row.cut else spell_bytes(row.size_bytes)
        print(f"  {row.role:<18} {size:>9}  {row.repository}/{row.file}")
        gate = ", terms have to be accepted" if row.gate else ""
        print(f"  {'':<18} {'':>9}  {where}; {row.licence}{gate}")


def _verify(hub: Hub, what: str, arguments: argparse.Namespace) -> None:
    from ltx2cpp.cli.display import Display
    from ltx2cpp.observing import observed_phase

    display = Display(quiet=arguments.quiet, spell_count=spell_bytes)

    def work() -> list[tuple[str, bool]]:
        with observed_phase(display, "hash"):
            checked = hub.library.verify(
                what, lambda done, total: display.phase_progress("hash", done, total)
            )
        return [(str(file.path), right) for file, right in checked]

    checked = display.run(work, verbose=arguments.verbose)
    if arguments.json:
        print(json.dumps(dict(checked), indent=2))
    else:
        for path, right in checked:
            print(f"{'right' if right else 'WRONG'}: {path}")
    wrong = [path for path, right in checked if not right]
    if wrong:
        raise HubError(
            f"{wrong[0]}: its bytes are not those of its hash; `ltx2cpp-cli models rm {what}`, and "
            "download it again"
        )
    if not checked:
        raise HubError(f"{what}: nothing is here of it")


def _remove(hub: Hub, what: str, arguments: argparse.Namespace) -> None:
    freed, kept = hub.library.remove(what)
    if arguments.json:
        print(json.dumps({"freed_bytes": freed, "kept": list(map(str, kept))}, indent=2))
        return
    print(f"{what}: {spell_bytes(freed)} freed")
    for path in kept:
        print(f"kept for another model: {path}")


def _add(hub: Hub, what: str, arguments: argparse.Namespace) -> None:
    from ltx2cpp.cli.display import Display
    from ltx2cpp.observing import observed_phase

    display = Display(quiet=arguments.quiet, spell_count=spell_bytes)

    def work() -> list[dict[str, Any]]:
        with observed_phase(display, "hash"):
            additions = hub.add_folder(
                Path(what), lambda done, total: display.phase_progress("hash", done, total)
            )
        return [
            {
                "path": str(each.path),
                "names": list(each.names),
                "problem": each.problem,
                "known": each.is_known,
            }
            for each in additions
        ]

    additions = display.run(work, verbose=arguments.verbose)
    if arguments.json:
        print(json.dumps(additions, indent=2))
        return
    for each in additions:
        problem = each["problem"].removeprefix(f"{each['path']}: ")
        print(f"{each['path']}: {problem or _belongs(each['names'], each['known'])}")
    print(f"{what}: {count_noun(len(additions), 'model')} looked at")


def _belongs(names: list[str], known: bool) -> str:
    if not names and known:
        return "known by its hash; counts where the hub has the same"
    if not names:
        return "no file of the table has its name, size and hash"
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"counts for {', '.join(names[:4])}{more}"


def _memory(model: ModelStatus) -> str:
    from ltx2cpp.machine.process_memory import available_bytes

    available = available_bytes()
    if not available:
        return ""
    return "fits" if model.largest_bytes < available else "--offload stream"


def _plain(model: ModelStatus) -> dict[str, Any]:
    return {
        "name": model.name,
        "bytes": model.size_bytes,
        "missing_bytes": model.missing_bytes,
        "complete": model.is_complete,
        "memory": _memory(model),
        "licences": list(model.licences),
        "gated": model.is_gated,
        "files": [
            {
                "role": row.role,
                "repository": row.repository,
                "file": row.file,
                "bytes": row.size_bytes,
                "here": None if files is None else [str(file.path) for file in files],
            }
            for row, files in zip(model.rows, model.here, strict=True)
        ],
    }


_ACTIONS = {"list": _list, "show": _show, "verify": _verify, "rm": _remove, "add": _add}
