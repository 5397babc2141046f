#!/usr/bin/env bash
# Make a clip that begins with a picture, follow its events, and load it: client.sh PICTURE [ADDRESS]
set -euo pipefail
address=${2:-http://127.0.0.1:8225}

id=$(curl -sf "$address/v1/videos" -F prompt="a red circle moves right on a blue background" \
    -F input_reference=@"$1" -F seed=7 | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
curl -sfN "$address/v1/videos/$id/events"
curl -sf "$address/v1/videos/$id/content" -o clip.mp4
