"""Model files written anew as GGUF, quantised on request."""

from __future__ import annotations

from ltx2cpp.convert.conversion import ConversionReport, convert, describe_types

__all__ = ["ConversionReport", "convert", "describe_types"]
