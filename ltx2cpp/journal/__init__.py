"""The journal of a generation: on disk, all it has computed so far, so that a kill costs a step."""

from __future__ import annotations

from ltx2cpp.journal.fields import Field, flattened
from ltx2cpp.journal.journal import Journal, KeptLatents, read_request

__all__ = ["Field", "Journal", "KeptLatents", "flattened", "read_request"]
