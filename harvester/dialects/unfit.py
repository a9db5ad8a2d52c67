"""Why a record is none: what msgspec and our own checks raise for data that does not fit, made a reason."""

import json
from typing import Final

import msgspec

UNFIT: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""A UnicodeDecodeError is a ValueError."""


def reason(raw: bytes, error: BaseException) -> str:
    """Names the field or the flaw, never a value."""
    if isinstance(error, UnicodeDecodeError):
        return f"no UTF-8 at byte {error.start} of the record"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, msgspec.ValidationError) or not isinstance(error, msgspec.DecodeError):
        return str(error)
    return _why_no_json(raw)


def is_damage(error: BaseException) -> bool:
    """Whether the record could not be read at all; else it was, and did not fit."""
    is_no_json = isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError)
    return is_no_json or isinstance(error, UnicodeDecodeError | RecursionError)


def _why_no_json(raw: bytes) -> str:
    """What is wrong with a record that msgspec refused; half of a surrogate pair it calls truncated."""
    constants: list[str] = []
    try:
        json.loads(raw, parse_int=str, parse_float=str, parse_constant=constants.append)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg}"
    except (ValueError, RecursionError):
        return "no JSON"
    if constants:
        return f"no JSON: {constants[0]} is no number there"
    return "an escape that stands for no character: half of a surrogate pair"
