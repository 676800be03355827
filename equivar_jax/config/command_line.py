"""Read settings from the command line, such as `--train.epochs 20`; errors are one line each."""

import argparse
import contextlib
import io
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from equivar_jax.config.schema import Config, check_config
from equivar_jax.config.settings import did_you_mean, setting_types, type_name
from equivar_jax.errors import InputError

C = TypeVar("C", bound=Config)


class OptionParser(argparse.ArgumentParser):
    """Parser of the options of a program; an error is an `InputError` of one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise the complaint of the parser.

        Raises:
            InputError: always.
        """
        raise InputError(f"{message}; --help explains the options")


def override(
    config: C,
    arguments: Sequence[str],
    program: str,
    description: str = "",
    others: Sequence[str] = (),
) -> C:
    """Replace the settings that command-line words such as `--train.epochs 20` name.

    Args:
        config: What to change: a `Config`, or one with further sections.
        arguments: The words.
        program: Name of the program, for `--help`.
        description: Of the program, for `--help`.
        others: Options that the program reads itself; somebody may have mistyped one of them.

    Raises:
        InputError: an unknown setting (the message names the nearest right one) or a value of the wrong type.
        SystemExit: `--help` was asked for and printed.
    """
    import tyro  # takes a tenth of a second, and most commands do not need it

    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            changed = tyro.cli(
                type(config),
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
        raise InputError(_explain(type(config), arguments, complaint.getvalue(), others)) from None
    check_config(changed)
    return changed


def expand_data_option(path: str | None, settings: Sequence[str]) -> list[str]:
    """Expand the shorthand `--data PATH` to `--data.path=PATH` and return all words that are settings.

    Raises:
        InputError: both forms are given.
    """
    if path is None:
        return list(settings)
    if "data.path" in named_settings(settings):
        raise InputError(f"--data {path} is short for --data.path; give one of them")
    return [*settings, f"--data.path={path}"]


def named_settings(arguments: Sequence[str]) -> set[str]:
    """Return the names of the settings among words of the command line, such as "model.channels"."""
    names = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in arguments}
    return names & setting_types(Config).keys()


def _explain(kind: type, arguments: Sequence[str], complaint: str, others: Sequence[str]) -> str:
    """Explain in one line what the command-line parser objected to."""
    settings = setting_types(kind)
    for word in arguments:
        name = word.partition("=")[0].removeprefix("--")
        if word.startswith("--") and name.replace("-", "_") not in settings:
            hint = did_you_mean(name, [*settings, *others], prefix="--")
            return f"unknown setting --{name}{hint}; --help lists all"
    for word, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, attached = word.removeprefix("--").partition("=")
        name, value = name.replace("-", "_"), attached or value
        if name in settings and _rejects(settings[name], value):
            return f"--{name} got {value!r}, expected {type_name(settings[name])}"
    words = " ".join(part for part in complaint.replace("│", " ").split() if not set(part) <= set("╭─╮╰╯"))
    return f"cannot read the command line: {words}"


def _rejects(hint: Any, text: str) -> bool:
    """Try whether the parser refuses `text` for a setting of type `hint`."""
    import tyro

    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            tyro.cli(hint, args=[text], config=(tyro.conf.FlagConversionOff, tyro.conf.Positional))
        except SystemExit:
            return True
    return False
