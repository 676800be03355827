"""The program `equivar`."""

import importlib
import re
from importlib import metadata

import pytest

from equivar_jax import __version__
from equivar_jax.__main__ import COMMANDS, main


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_alone_it_prints_one_screen_with_every_command_and_three_to_begin_with(words, capsys):
    main(words)
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 24
    assert max(map(len, shown.splitlines())) <= 80
    for name in COMMANDS:
        assert f"\n  equivar {name} " in shown
    _, _, first = shown.partition("First commands:\n")
    assert [line.split()[:2] for line in first.splitlines()[:3]] == [
        ["equivar", "predict"],
        ["equivar", "response"],
        ["equivar", "train"],
    ]


def test_every_command_is_a_program_of_its_own():
    for command in COMMANDS.values():
        assert callable(importlib.import_module(f"equivar_jax.{command.module}").main)
    assert {
        "train",
        "teach",
        "evaluate",
        "predict",
        "cross-validate",
        "committee",
        "select",
        "ipi",
        "export",
        "data",
        "doctor",
        "response",
    } == COMMANDS.keys()


def test_words_are_handed_over(capsys):
    main(["response"])
    assert "polarisation" in capsys.readouterr().out


def test_the_version(capsys):
    """One line for a report: this package, Python, JAX, and whether C++ kernels are compiled already."""
    main(["--version"])
    shown = capsys.readouterr().out
    assert re.fullmatch(
        rf"equivar {re.escape(__version__)} \(Python 3\.\d+\.\S+, JAX {re.escape(metadata.version('jax'))}; "
        r"C\+\+ kernels: (came with|compiled|to be compiled|not there).*\)\n",
        shown,
    )


def test_a_mistyped_command_is_one_line(complaint):
    assert complaint(main, "pridict") == "no command 'pridict'; `equivar` lists all; did you mean 'predict'?"


def test_installing_gives_the_program():
    (script,) = metadata.entry_points(group="console_scripts", name="equivar")
    assert script.load() is main
