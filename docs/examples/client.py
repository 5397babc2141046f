"""Make a clip, extend it and load both, with the package `openai`."""

from __future__ import annotations

import sys

from openai import OpenAI

client = OpenAI(
    base_url=sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8225/v1", api_key="none"
)
video = client.videos.create_and_poll(
    prompt="a red circle moves right on a blue background", extra_body={"seed": 7}
)
if video.error is not None:
    sys.exit(f"{video.error.code}: {video.error.message}")
client.videos.download_content(video.id).write_to_file("clip.mp4")

with open("clip.mp4", "rb") as clip:  # noqa: PTH123
    longer = client.videos.extend(prompt=video.prompt or "", seconds="1", video=clip)
longer = client.videos.poll(longer.id)
client.videos.download_content(longer.id).write_to_file("longer.mp4")
print(video.seconds, "seconds, then", longer.seconds)
