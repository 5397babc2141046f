"""Every bound of the test suite: the largest accepted normalised RMS error, with its reason.

Loosening a bound needs a reason here.
"""

from __future__ import annotations

# --- own operations, CPU, float32 ---

# One rounding per step of about five steps; float32 rounds to 6e-8 relative.
OP_F32 = 5e-7
