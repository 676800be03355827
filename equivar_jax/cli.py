"""The command line: `--train.epochs 20` replaces one setting; what cannot be read is explained in a line."""

import contextlib
import dataclasses
import io
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

import tyro

from equivar_jax.config import Config, check_config, did_you_mean
from equivar_jax.errors import InputError


def override(config: Config, arguments: Sequence[str], program: str, description: str = "") -> Config:
    """Replace settings by command-line words such as `--train.epochs 20`.

    Raises:
        InputError: an unknown setting (the message names the nearest right one) or a value of the wrong type.
        SystemExit: `--help` was asked for and printed.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            changed = tyro.cli(
                Config,
                default=config,
                args=list(arguments),
                prog=program,
                description=description,
                config=(tyro.conf.FlagConversionOff, tyro.conf.ConsolidateSubcommandArgs),
                use_underscores=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(_explain(arguments, complaint.getvalue())) from None
    check_config(changed)
    return changed


def _setting_types(kind: type, prefix: str = "") -> dict[str, Any]:
    """Dotted name -> type of every setting below a dataclass."""
    found: dict[str, Any] = {}
    for key, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            found |= _setting_types(typing.cast(type, hint), f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = hint
    return found


def _explain(arguments: Sequence[str], complaint: str) -> str:
    """One line for what the command-line parser objected to."""
    settings = _setting_types(Config)
    for word in arguments:
        name = word.partition("=")[0].removeprefix("--").replace("-", "_")
        if word.startswith("--") and name not in settings:
            return f"unknown setting {word.partition('=')[0]}{did_you_mean(name, settings)}; --help lists all"
    for word, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, attached = word.removeprefix("--").partition("=")
        if name.replace("-", "_") in settings and _rejects(
            settings[name.replace("-", "_")], attached or value
        ):
            expected = _type_name(settings[name.replace("-", "_")])
            return f"--{name} got {attached or value!r}, expected {expected}"
    words = " ".join(part for part in complaint.replace("│", " ").split() if not set(part) <= set("╭─╮╰╯"))
    return f"cannot read the command line: {words}"


def _rejects(hint: Any, text: str) -> bool:
    """Whether the parser refuses `text` for a setting of type `hint`."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            tyro.cli(hint, args=[text], config=(tyro.conf.FlagConversionOff, tyro.conf.Positional))
        except SystemExit:
            return True
    return False


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, typing.get_args(hint)))
    if isinstance(hint, types.UnionType):
        return " or ".join(_type_name(part) for part in typing.get_args(hint))
    return {"int": "an integer", "float": "a number", "bool": "True or False", "str": "a text"}.get(
        getattr(hint, "__name__", ""), "None" if hint is type(None) else str(hint)
    )
