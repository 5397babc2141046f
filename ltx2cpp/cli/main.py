"""Entry point: parses the command line, runs one command, turns errors into exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ltx2cpp.cli.commands import SUMMARIES, command_module
from ltx2cpp.cli.streams import lasting_streams
from ltx2cpp.errors import Error
from ltx2cpp.printable import without_controls

EXIT_BUG = 1
EXIT_USAGE = 2
EXIT_MEMORY = 4
EXIT_INTERRUPTED = 130

# Given back before the last sentence is made, when there is no memory left for it.
_RESERVE_BYTES = 1 << 20
_NO_MEMORY = "the machine has not enough memory for this; try a smaller clip or --weight-type q8_0"

# The modules of all commands, for programs that import them beforehand; a command line imports its
# own only.
_COMMANDS = tuple(f"commands.{name}" for name in SUMMARIES)

_EXIT_CODES = """exit codes:
  0 done, 1 a bug, 2 bad argument or output, 3 model file, 4 memory, 5 some rows of a batch failed,
  130 interrupted"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as all other errors are said."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"error: {without_controls(message)}; see '{self.prog} --help'\n")


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Build the parser of the whole command line.

    Args:
        only: the command whose options are wanted, the others getting none; default: all.
    """
    parser = _Parser(
        prog="ltx2cpp-cli",
        description="LTX-2 video and sound generation on your own machine.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="store_true", help="print the version and what was built, and stop"
    )
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name, summary in SUMMARIES.items():
        if only not in (None, name):
            commands.add_parser(name, help=summary)
            continue
        module = command_module(name)
        command = commands.add_parser(
            name,
            help=summary,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after the program's name; default: those of this process.

    Returns:
        the exit code.
    """
    with lasting_streams() as out:
        reserve = []
        try:
            reserve.append(bytearray(_RESERVE_BYTES))
            code = _run(argv)
        except MemoryError:
            reserve.clear()
            code = _run_out_of_memory()
        out.flush()
        if out.failure is not None and code == 0:
            _complain(f"the result cannot be printed: {out.failure.strerror or out.failure}")
            return EXIT_USAGE
        return code


def _run_out_of_memory() -> int:
    try:
        _complain(_NO_MEMORY)
    except MemoryError:
        os.write(2, b"error: the machine has not enough memory for this\n")
    return EXIT_MEMORY


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    # The program itself has no option with a value.
    command = next((word for word in words if not word.startswith("-")), "")
    parser = build_parser(only=command)
    arguments = parser.parse_args(words)
    if arguments.version:
        arguments.run = _print_version
    elif arguments.command is None:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    verbose = getattr(arguments, "verbose", False)
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:
        lacks_memory = _lacks_memory(error)
        if isinstance(error, Error):
            _complain(str(error))
            return EXIT_MEMORY if lacks_memory else error.exit_code
        if lacks_memory:
            raise MemoryError from error
        if (name := _impossible_name(error)) is not None:
            _complain(name)
            return EXIT_USAGE
        if verbose:
            _print_traceback(error)
        _complain(
            f"internal error: {type(error).__name__}: {error}; this is a bug in ltx2cpp, "
            "please report it with the output of the same command and --verbose"
        )
        return EXIT_BUG
    return 0


def _print_version(_: argparse.Namespace) -> None:
    from ltx2cpp.cli.version import print_version

    print_version()


def _lacks_memory(error: BaseException | None) -> bool:
    """Return whether an error, or what it was raised from, is a lack of memory."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        # The dynamic linker's words for a library that it finds no addresses for.
        if isinstance(error, ImportError) and "failed to map segment" in str(error):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


def _impossible_name(error: Exception) -> str | None:
    """Return what is wrong with a path that no system call takes, None for other errors."""
    # pathlib turns a loop of links into a RuntimeError.
    cause = error.__context__ if isinstance(error, RuntimeError) else error
    if not isinstance(cause, OSError) or cause.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
        return None
    return f"{cause.filename}: {cause.strerror}"


def _print_traceback(error: Exception) -> None:
    """Print the traceback of an error."""
    import traceback

    lines = "".join(traceback.format_exception(error))
    print(without_controls(lines), end="", file=sys.stderr)


def _complain(sentence: str) -> None:
    print(f"error: {without_controls(' '.join(sentence.split()))}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
