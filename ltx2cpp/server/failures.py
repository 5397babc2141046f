"""What the interface refuses: a status, a sentence, a code, and which field it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ltx2cpp.printable import without_controls

# Status -> `type` of the error object. The client library makes its classes from the status alone.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
NEVER_RETRY = {"x-should-retry": "false"}


class ApiError(Exception):
    """A request that is answered with an error object.

    Args:
        status: of HTTP.
        message: one sentence.
        code: a word for programs.
        param: the field or header it is about.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Return the error object."""
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": without_controls(str(self)),
                "type": _TYPES.get(self.status, fallback),
                "param": None if self.param is None else without_controls(self.param),
                "code": self.code,
            }
        }


def invalid(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """Return the refusal of a field's value."""
    return ApiError(400, f"{param}: {message}", code, param)


def not_found(what: str) -> ApiError:
    """Return the answer where nothing is."""
    return ApiError(404, f"there is no {what}", "not_found")
