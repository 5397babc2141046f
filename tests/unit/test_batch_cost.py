"""The number of workers for a number of clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ltx2cpp.batch.cost import Rate, farm
from ltx2cpp.cli.main import main


def test_workers_follow_from_the_rate() -> None:
    needed = farm(1e6, 86400, Rate(9.5, 2.5e6), use=0.7)
    assert needed.clips_per_s == pytest.approx(11.574, rel=1e-3)
    assert needed.workers == pytest.approx(1e6 / 86400 * 9.5 / 0.7)
    assert needed.bytes_per_day == pytest.approx(2.5e12)
    assert 2 * needed.worker_hours_per_clip == pytest.approx(0.00754, rel=1e-3)


def test_the_rate_may_be_that_of_a_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clips").mkdir()
    for index, seconds in enumerate((3.0, 4.0, 8.0)):
        mark = {"seconds": seconds, "bytes": 1000}
        (tmp_path / "clips" / f"{index}.json").write_text(json.dumps(mark))
    (tmp_path / "clips" / "cut.json").write_text("{")
    command = ["estimate", "--clips", "86400", "--use", "1", "--json"]
    assert main([*command, "--measured", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["workers"] == pytest.approx(5.0) and told["bytes_per_day"] == 86_400_000
    assert main([*command, "--measured", str(tmp_path / "none")]) == 2
    assert "holds no marks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--clips", "0"], "clips: expected more than 0"),
        (["--clips", "nan"], "clips: expected more than 0"),
        (["--clips", "1", "--use", "1.1"], "use: expected a share"),
        (["--clips", "1", "--price", "-1"], "--price: expected 0 or more"),
    ],
)
def test_what_cannot_be_estimated(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", "--clip-time", "1", *options]) == 2
    assert words in capsys.readouterr().err
