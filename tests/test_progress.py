"""Progress in files, and steps that say what they are."""

import io
import sys
import time

import pytest

from equivar_jax import progress
from equivar_jax.progress import ProgressBar, announce_if_slow

BETWEEN_LINES = progress.SECONDS_BETWEEN_LINES
"""As users have it; while a test runs there are no lines."""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_file_gets_a_line_every_half_minute_and_no_carriage_return(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", BETWEEN_LINES)
    with ProgressBar(total=100, unit="batch", desc="epoch 1/5") as bar:
        for step in range(100):
            now[0] = float(step)
            bar.set_postfix_str(f"loss {step}")
            bar.update()
            bar.refresh()
    written = capsys.readouterr().err
    lines = written.splitlines()
    assert len(lines) == 3
    assert "\r" not in written
    assert all(line.startswith("epoch 1/5: ") and " left, loss " in line for line in lines)
    found = [line.partition(": ")[2].partition(",")[0] for line in lines]
    assert found == ["30 % (30 of 100)", "60 % (60 of 100)", "90 % (90 of 100)"]


def test_a_short_step_leaves_nothing_in_a_file(capsys):
    with ProgressBar(total=3) as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with ProgressBar(total=2, desc="epoch") as bar:
        bar.update(2)
    assert "\r" in terminal.getvalue()
    assert "epoch: 100%" in terminal.getvalue()


@pytest.mark.parametrize(("silence", "said"), [(0.0, "reading a file ...\n"), (1e3, "")])
def test_a_step_says_what_it_is_only_if_it_is_slow(monkeypatch, capsys, silence, said):
    monkeypatch.setattr(progress, "SECONDS_OF_SILENCE", silence)
    with announce_if_slow("reading a file"):
        deadline = time.monotonic() + 300  # for a thread of its own on a busy machine
        while said and capsys.readouterr().err != said:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert capsys.readouterr().err == ""
