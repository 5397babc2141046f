"""What the tool for wheels compiles with: zig for an older glibc, a newer compiler of shaders."""

import platform
import subprocess
from pathlib import Path

import pytest
from wheels import vulkan, zig


@pytest.mark.parametrize(
    ("library", "glibc", "needed"),
    [
        (("glibc", "2.36"), "2.28", True),
        (("glibc", "2.36"), "2.9", True),
        (("glibc", "2.28"), "2.28", False),
        (("glibc", "2.36"), "", False),
        (("", ""), "2.28", False),
    ],
)
def test_zig_compiles_where_the_system_is_newer(
    library: tuple[str, str], glibc: str, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: library)
    assert zig.is_needed(glibc) == needed


def words_of(command: str, *arguments: str) -> list[str]:
    """Return what a command hands to the program `echo` that it stands for."""
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_commands_of_zig_name_the_glibc_to_compilers_alone(tmp_path: Path) -> None:
    settings = zig.settings(Path("/bin/echo"), tmp_path / "with space", "2.28")
    compiler = words_of(settings["CMAKE_CXX_COMPILER"], "-O3", "a b.cpp")
    assert compiler[:3] == ["c++", "-target", "x86_64-linux-gnu.2.28"]
    assert compiler[-3:] == ["-O3", "a", "b.cpp"]
    assert words_of(settings["CMAKE_C_COMPILER"])[0] == "cc"
    assert words_of(settings["CMAKE_AR"], "qc", "x.a") == ["ar", "qc", "x.a"]


def test_headers_of_vulkan_are_taken_from_the_userland_without_its_c_library(
    tmp_path: Path,
) -> None:
    include = tmp_path / "userland" / "usr" / "include"
    for name in ("vulkan", "vk_video", "spirv", "bits"):
        (include / name).mkdir(parents=True)
    for _ in range(2):  # again over what the run before left
        settings = vulkan.settings(tmp_path / "userland", tmp_path / "work")
    headers = Path(settings["Vulkan_INCLUDE_DIR"])
    assert {link.name for link in headers.iterdir()} == {"vulkan", "vk_video", "spirv"}
    assert (headers / "vulkan").is_dir()
    text = Path(settings["Vulkan_GLSLC_EXECUTABLE"]).read_text(encoding="utf-8")
    assert f"{tmp_path}/userland/usr/bin/glslc" in text
