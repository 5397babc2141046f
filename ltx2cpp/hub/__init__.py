"""Models by name: found on the hub, checked, fetched and kept where other programs keep theirs.

The only room that reaches the network for models, and only for names that it is given.
"""

from __future__ import annotations

from ltx2cpp.hub.download import Download, Hub
from ltx2cpp.hub.elsewhere import Meant
from ltx2cpp.hub.given import fetch_enhancer, fetch_files, fetch_lora, fetch_loras
from ltx2cpp.hub.library import Library, LocalFile, ModelStatus
from ltx2cpp.hub.names import TableName, parse_name
from ltx2cpp.hub.present import Addition
from ltx2cpp.hub.table import Row
from ltx2cpp.hub.wanted import Wanted

__all__ = [
    "Addition",
    "Download",
    "Hub",
    "Library",
    "LocalFile",
    "Meant",
    "ModelStatus",
    "Row",
    "TableName",
    "Wanted",
    "fetch_enhancer",
    "fetch_files",
    "fetch_lora",
    "fetch_loras",
    "parse_name",
]
