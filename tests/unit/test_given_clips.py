"""Given clips and sounds lead nowhere: regular files that hold all that is read."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ltx2cpp import media
from ltx2cpp.errors import ArgumentError
from ltx2cpp.media import given

FRAMES = np.zeros((9, 64, 64, 3), np.uint8)

Read = Callable[[Path], Any]
READERS: list[Read] = [media.read_video, media.read_audio, media.read_parameters]


@pytest.mark.parametrize("read", [*READERS, media.read_picture, media.read_latents])
@pytest.mark.parametrize("name", ["a.mp4", "a.png", "a.safetensors"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device"])
def test_only_regular_files_are_opened(tmp_path: Path, read: Read, name: str, kind: str) -> None:
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            # Such names are short.
            bound.bind(name)
    else:
        path.symlink_to("/dev/zero")
    sentence = "is a folder|cannot be read" if kind == "folder" else "is a device or a pipe"
    with pytest.raises(ArgumentError, match=sentence):
        read(path)


@pytest.mark.parametrize("read", READERS)
def test_a_pipe_put_there_meanwhile_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read
) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    check, modes = given._check_regular, []

    def pass_first(mode: int) -> None:
        modes.append(mode)
        if len(modes) > 1:
            check(mode)

    monkeypatch.setattr(given, "_check_regular", pass_first)
    with pytest.raises(ArgumentError, match="is a device or a pipe"):
        read(tmp_path / "a.mp4")


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Listen on this machine, and note every connection."""
    hits: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                hits.append("connected")
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        host, port = listening.getsockname()
        yield f"{host}:{port}", hits
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize("read", [*READERS, media.read_picture])
@pytest.mark.parametrize("scheme", ["http", "tcp", "rtsp", "hls+http"])
def test_addresses_are_no_files(server: tuple[str, list[str]], scheme: str, read: Read) -> None:
    where, hits = server
    with pytest.raises(ArgumentError, match=r"does not exist|cannot be read"):
        read(f"{scheme}://{where}/a.mp4")  # type: ignore[arg-type]
    assert hits == []


@pytest.mark.parametrize("name", ["pipe:0", "concat:a.mp4|b.mp4", "file:a.mp4", "subfile,,:a.mp4"])
def test_other_protocols_are_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    media.save_video("a.mp4", [FRAMES], frame_rate=24)
    with pytest.raises(ArgumentError, match="does not exist"):
        media.read_video(name)
    if "/" not in name:
        # A file may well be called so.
        Path("a.mp4").rename(name)
        assert len(media.read_video(name).frames) == 9


def write_segment(path: Path) -> None:
    """Write a clip with sound as a transport stream, which playlists are made of."""
    with av.open(str(path), "w", format="mpegts") as container:
        video: Any = container.add_stream("mpeg2video", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound: Any = container.add_stream("mp2", rate=48000, layout="stereo")
        for picture in FRAMES:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(frame))
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 2 * 1152), np.int16), format="s16", layout="stereo"
        )
        silence.sample_rate = 48000
        container.mux(sound.encode(silence))
        container.mux(video.encode())
        container.mux(sound.encode())


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile {}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-live:2011" mediaPresentationDuration="PT1S"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="0" bandwidth="1"><BaseURL>{}'
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("suffix", [".m3u8", ".mp4", ".ffconcat", ".mpd"])
@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize(
    "target", ["a.ts", "{folder}/a.ts", "file:{folder}/a.ts", "http://{host}/a.ts"]
)
def test_playlists_are_not_followed(
    tmp_path: Path,
    server: tuple[str, list[str]],
    target: str,
    kind: str,
    suffix: str,
    read: Read,
) -> None:
    where, hits = server
    write_segment(tmp_path / "a.ts")
    assert len(media.read_video(tmp_path / "a.ts").frames) == 9
    assert media.read_audio(tmp_path / "a.ts").samples.shape[0] == 2
    text = PLAYLISTS[kind].format(target.format(folder=tmp_path, host=where))
    (tmp_path / f"list{suffix}").write_text(text)
    with pytest.raises(ArgumentError) as error:
        read(tmp_path / f"list{suffix}")
    assert "\n" not in str(error.value)
    assert hits == []


def test_a_playlist_is_told_that_it_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.m3u8").write_text(PLAYLISTS["hls"].format("a.ts"))
    with pytest.raises(ArgumentError, match=r"expected mp4, mov, .*playlists .* are not followed"):
        media.read_video(tmp_path / "a.m3u8")


def write_clip(path: Path, codec: str, container_format: str) -> None:
    with av.open(str(path), "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for picture in FRAMES:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("codec", "container_format"),
    [
        *[("mpeg4", name) for name in ("mp4", "mov", "matroska", "avi", "nut", "mpegts", "m4v")],
        *[("mpeg2video", name) for name in ("mpeg", "mxf", "mpeg2video")],
        *[("libx264", "flv"), ("mpeg4", "asf"), ("libx264", "h264"), ("gif", "gif")],
    ],
)
def test_usual_containers_are_read(tmp_path: Path, codec: str, container_format: str) -> None:
    write_clip(tmp_path / "a.dat", codec, container_format)
    assert media.read_video(tmp_path / "a.dat").frames.shape == FRAMES.shape


@pytest.mark.parametrize(
    ("codec", "container_format"),
    [
        *[("pcm_s16le", "wav"), ("pcm_s16be", "aiff"), ("pcm_s16be", "au"), ("pcm_s16le", "caf")],
        *[("flac", "flac"), ("mp2", "mp2"), ("aac", "adts"), ("aac", "ipod"), ("libopus", "ogg")],
        *[("ac3", "ac3"), ("wavpack", "wv"), ("tta", "tta"), ("pcm_s16le", "w64")],
    ],
)
def test_usual_sounds_are_read(tmp_path: Path, codec: str, container_format: str) -> None:
    path = tmp_path / "a.dat"
    with av.open(str(path), "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=48000, layout="stereo")
        silence = np.zeros((1, 2 * 9600), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert media.read_audio(path).samples.shape[1] >= 9600
