"""Observations and rows as bytes: msgpack with arrays, as openpi's servers and clients have them.

An array is a map of `__ndarray__`, `data`, `dtype` and `shape`; openpi's keys are bytes, other
servers' are texts, and msgpack-numpy's own map has `nd` instead. All three are read, openpi's is
written. Nothing is unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from vla_ros.core.shown import shown

# Objects would have to be unpickled, structures and complex numbers nobody sends.
ARRAY_KINDS = "biuf"
# What is left of the chunk before, in a question: {"rows": K x C, "delay": rows, "horizon": rows},
# as core.types.Prefix. A server that does not continue chunks leaves it alone.
PREFIX = "prefix"
# The longest answer that is taken in; a chunk of 100 rows of 50 numbers has 40 kB.
MOST_BYTES = 64 << 20


def packed(message: Mapping[str, Any]) -> bytes:
    """A message as bytes.

    Args:
        message: texts, numbers, lists, maps and arrays of numbers.

    Raises:
        TypeError: something else is in it.
    """
    data: bytes = msgpack.packb(message, default=_as_map)
    return data


def unpacked(data: bytes) -> Any:
    """What was packed; its arrays are only to be read.

    Raises:
        ValueError: it is no msgpack, too long, or holds an array that is none.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"the message has {len(data)} bytes; at most {MOST_BYTES} are read")
    try:
        return msgpack.unpackb(data, object_hook=_from_map, strict_map_key=False)
    except ValueError:
        raise
    except Exception as error:  # msgpack has a dozen of its own
        raise ValueError(f"the message is no msgpack: {shown(str(error))}") from None


def _as_map(value: object) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in ARRAY_KINDS:
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    if isinstance(value, np.generic) and value.dtype.kind in ARRAY_KINDS:
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"{shown(value)} cannot be sent; texts, numbers and arrays of numbers can")


def _from_map(fields: dict[Any, Any]) -> Any:
    """An array or a number where the map stands for one, else the map."""
    named: dict[str, Any] = {}
    for key, value in fields.items():
        named[key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)] = value
    if named.get("__ndarray__") or named.get("nd") is True:
        return _array(named)
    if named.get("__npgeneric__") or named.get("nd") is False:
        data = named.get("data")
        if isinstance(data, bytes):
            return _array({**named, "shape": ()})[()]
        return _dtype(named).type(data)
    return fields


def _dtype(named: Mapping[str, Any]) -> np.dtype[Any]:
    text = named.get("dtype", named.get("type"))
    try:
        dtype = np.dtype(text.decode() if isinstance(text, bytes) else str(text))
    except (TypeError, ValueError):
        dtype = np.dtype(object)
    if dtype.kind not in ARRAY_KINDS:
        raise ValueError(f"an array of the message is of type {shown(text)}; numbers are right")
    return dtype


def _array(named: Mapping[str, Any]) -> NDArray[Any]:
    dtype = _dtype(named)
    data = named.get("data")
    shape = named.get("shape")
    right = isinstance(shape, (list, tuple)) and all(
        isinstance(side, int) and side >= 0 for side in shape
    )
    if not right or not isinstance(data, bytes):
        raise ValueError(f"an array of the message has the shape {shown(shape)}, which is none")
    assert shape is not None
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(
            f"an array of the message has the shape {shown(shape)} of {dtype}, and "
            f"{len(data)} bytes"
        )
    return np.frombuffer(data, dtype).reshape(shape)
