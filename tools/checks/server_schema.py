"""The interface of the server asked by schemathesis what its own description allows, and what not.

    pip install -r tools/checks/requirements-server.txt
    python tools/checks/server_schema.py [--examples 30] [--seed 1] [--minutes 10]

Seeds follow one another until the time is over. Exit code 1 where an answer has a status of 500 or
more, or differs from the description. Streams of events, which do not end, are left out.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
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
    parser.add_argument("--minutes", type=float, default=0.0, help="at least (default: one round)")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as folder:
        server = start_server(Path(folder) / "data", "--queue-limit", "1000000")
        address = f"http://127.0.0.1:{server.port}"
        command = [
            *("schemathesis", "run", f"{address}/openapi.json", "--url", address),
            *("--exclude-path-regex", "events$", "--checks", ",".join(_CHECKS)),
            *("--max-examples", str(arguments.examples)),
            *("--phases", "fuzzing,coverage", "--request-timeout", "60"),
        ]
        try:
            for seed in itertools.count(arguments.seed):
                code = subprocess.run([*command, "--seed", str(seed)]).returncode
                if code or time.monotonic() >= end:
                    return code
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
