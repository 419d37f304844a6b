"""JSON to the dataclasses of `models`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from .errors import ApiError, UnexpectedAnswer, problem_of
from .models import Array

T = TypeVar("T")


def decode_json(kind: type[T], content: bytes | str) -> T:
    """A document as `kind`."""
    return decode(kind, parse_json(content))


def parse_json(content: bytes | str) -> Any:
    """A document."""
    try:
        return json.loads(content)
    except ValueError as error:
        raise UnexpectedAnswer(f"the answer is not JSON: {error}") from error


def decode(kind: type[T], value: object) -> T:
    """A parsed document as `kind`."""
    try:
        return cast(T, _decode(kind, value))
    except (TypeError, ValueError, OverflowError) as error:
        raise UnexpectedAnswer(f"the answer is not a {kind.__name__}: {error}") from error


@lru_cache(maxsize=64)
def _plan(kind: Any) -> tuple[tuple[str, Any, bool], ...]:
    """Name, hint and necessity of each field."""
    hints = get_type_hints(kind)
    return tuple(
        (f.name, hints[f.name], f.default is MISSING and f.default_factory is MISSING)
        for f in fields(kind)
    )


def _decode(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Union:
        return None if value is None else _decode(arguments[0], value)
    if origin is list:
        return [_decode(arguments[0], item) for item in _checked(list, value)]
    if origin is tuple:
        items = _checked(list, value)
        if len(items) != len(arguments):
            raise ValueError(f"expected {len(arguments)} items")
        return tuple(_decode(a, item) for a, item in zip(arguments, items))
    if origin is dict:
        return {k: _decode(arguments[1], v) for k, v in _checked(dict, value).items()}
    if hint == Array:
        return np.asarray(value, dtype=np.float32)
    if hint is ApiError:
        problem: Mapping[str, Any] = _checked(dict, value)
        return problem_of(problem, int(problem.get("status", 0)), {})
    if is_dataclass(hint):
        return _object(hint, _checked(dict, value))
    if hint is datetime:
        # Python before 3.11 does not read the Z.
        return datetime.fromisoformat(_checked(str, value).replace("Z", "+00:00"))
    if hint is float:
        return float(_checked((int, float), value))
    return value if hint is Any else _checked(hint, value)


def _object(kind: Any, value: Mapping[str, Any]) -> Any:
    given: dict[str, Any] = {}
    for name, hint, required in _plan(kind):
        if name == "raw":
            given[name] = value
        elif name in value:
            try:
                given[name] = _decode(hint, value[name])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        elif required:
            raise ValueError(f"{name} is missing")
    return kind(**given)


def _checked(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"unexpected {type(value).__name__}")
    return value
