"""Frozen dataclasses as settings: names, types in words, JSON and back. Knows no particular setting."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from equivar_jax.errors import InputError

T = TypeVar("T")

_UNIONS = (types.UnionType, typing.Union)
"""`int | None` is the first kind, a `Literal` with `| None` the second."""
_TYPE_NAMES = {int: "an integer", float: "a number", bool: "True or False", str: "a text", type(None): "None"}


@dataclass(frozen=True)
class Above:
    """A bound of a setting: greater than `limit`."""

    limit: int | float

    def fault(self, value: int | float) -> str | None:
        """Say what is wrong with a value, or None."""
        return None if value > self.limit else f"is not above {self.limit or 'zero'}"


@dataclass(frozen=True)
class AtLeast:
    """A bound of a setting: `lowest` or greater."""

    lowest: int | float

    def fault(self, value: int | float) -> str | None:
        """Say what is wrong with a value, or None."""
        return None if value >= self.lowest else f"is too small; give {self.lowest} or more"


@dataclass(frozen=True)
class Between:
    """A bound of a setting: greater than `low` and less than `high`."""

    low: int | float
    high: int | float

    def fault(self, value: int | float) -> str | None:
        """Say what is wrong with a value, or None."""
        return None if self.low < value < self.high else f"is not between {self.low} and {self.high}"


Bound = Above | AtLeast | Between
Positive = Annotated[float, Above(0)]
NonNegative = Annotated[float, AtLeast(0)]
Natural = Annotated[int, AtLeast(0)]
Count = Annotated[int, AtLeast(1)]
Fraction = Annotated[float, Between(0, 1)]


def setting_types(kind: type, prefix: str = "") -> dict[str, Any]:
    """Map the dotted name of every setting below a dataclass to its type."""
    found: dict[str, Any] = {}
    for key, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            found |= setting_types(typing.cast(type, hint), f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = hint
    return found


def setting_bounds(kind: type, prefix: str = "") -> dict[str, Bound]:
    """Map the dotted name of every bounded setting below a dataclass to its bound.

    A bound stands in the annotation, as `Annotated[int, AtLeast(1)]`; it may be one side of a union.
    """
    found: dict[str, Bound] = {}
    for key, hint in typing.get_type_hints(kind, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            found |= setting_bounds(typing.cast(type, hint), f"{prefix}{key}.")
        for part in (hint, *typing.get_args(hint)):
            for bound in getattr(part, "__metadata__", ()):
                if isinstance(bound, Bound):
                    found[f"{prefix}{key}"] = bound
    return found


def type_name(hint: Any) -> str:
    """Describe the type of a setting in words: "an integer or None"."""
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if typing.get_origin(hint) in _UNIONS:
        return " or ".join(type_name(part) for part in typing.get_args(hint))
    return _TYPE_NAMES.get(hint, str(hint))


def is_of_type(value: Any, hint: Any) -> bool:
    """Check whether a setting has its type; an integer is a number, too, but True is neither."""
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if typing.get_origin(hint) in _UNIONS:
        return any(is_of_type(value, part) for part in typing.get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a dataclass into nested dictionaries, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], values: dict[str, Any], where: str = "config") -> T:
    """Rebuild a frozen dataclass from what `to_dict` made of it.

    Raises:
        InputError: a key that `kind` does not have (names the nearest), as of another program.
    """
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise InputError(f"{where}: unknown setting {key!r}{did_you_mean(key, hints)}")
    nested = {
        key: from_dict(hints[key], value, f"{where}.{key}") if dataclasses.is_dataclass(hints[key]) else value
        for key, value in values.items()
    }
    return kind(**nested)


def did_you_mean(word: str, choices: Iterable[str], prefix: str = "") -> str:
    """Suggest the choice nearest to `word`, as `; did you mean ...?`; nothing when none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.4)
    return f"; did you mean '{prefix}{near[0]}'?" if near else ""
