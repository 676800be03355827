"""The program `equivar`: `equivar COMMAND ...`, also `python -m equivar_jax COMMAND ...`."""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from equivar_jax.errors import InputError, plain_messages


class Command(NamedTuple):
    """A command of the program."""

    module: str
    """Below `equivar_jax`, with a function `main(words)`; also a program of its own, `python -m`."""
    what: str
    """What it does, for the list of commands."""


COMMANDS = {
    "predict": Command("predict", "charges of structures, files, folders, databases"),
    "response": Command("response.__main__", "LO-TO splitting, dielectric tensors, spectra, dynamics"),
    "train": Command("train", "train a network, or fine-tune one, on your data"),
    "teach": Command("teach", "a fast network from few frames of one material"),
    "evaluate": Command("evaluate", "errors of a network on labelled structures"),
    "cross-validate": Command("cross_validate", "train and validate fold by fold"),
    "committee": Command("committee", "join networks into one that knows how sure it is"),
    "select": Command("select", "which structures to calculate next, to learn most"),
    "ipi": Command("ipi", "charges for i-PI, which moves atoms in a field"),
    "export": Command("export", "a network as a file for programs that have JAX alone"),
    "data": Command("data", "find broken, rotated, transposed and duplicate labels"),
    "doctor": Command("doctor", "what this installation is, and whether it works"),
}

_SCREEN = """\
equivar: Born effective charges from a crystal structure

{commands}

First commands:
  equivar predict POSCAR -o tensors.csv    charges by the weights of the package
  equivar response dielectric --example    eps_0 and LO modes of a model crystal
  equivar train --config quickstart.py     a minute on the demonstration set

`equivar COMMAND --help` explains the options of a command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Hand over to the command that the first word names; without one, print what there is."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        lines = "\n".join(f"  equivar {name:14s}  {command.what}" for name, command in COMMANDS.items())
        print(_SCREEN.format(commands=lines))
        return
    if words[0] == "--version":
        from equivar_jax.doctor import version_line  # not needed for what comes above

        print(version_line())
        return
    with plain_messages():
        if words[0] not in COMMANDS:
            from equivar_jax.config.settings import did_you_mean  # nor this

            raise InputError(
                f"no command {words[0]!r}; `equivar` lists all{did_you_mean(words[0], COMMANDS)}"
            )
    command = importlib.import_module(f"equivar_jax.{COMMANDS[words[0]].module}")
    command.main(words[1:])


if __name__ == "__main__":
    main()
