"""The interface of the server asked by schemathesis what its own description allows, and what not.

    pip install schemathesis
    python tools/checks/server_schema.py [--examples 30] [--seed 1]

Exit code 1 where an answer has a status of 500 or more, or differs from the
description. Streams of events, which do not end, are left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from helpers.running_server import start_server

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def main() -> int:
    """Ask and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data", "--queue-limit", "1000000")
        address = f"http://127.0.0.1:{server.port}"
        command = [
            *("schemathesis", "run", f"{address}/openapi.json", "--url", address),
            *("--exclude-path-regex", "events$", "--checks", ",".join(_CHECKS)),
            *("--max-examples", str(arguments.examples), "--seed", str(arguments.seed)),
            *("--phases", "fuzzing,coverage", "--request-timeout", "60"),
        ]
        try:
            return subprocess.run(command).returncode
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
