"""Commands side by side: on cores of their own, ended together, with their own complaints."""

import os
import signal
import sys

import pytest

from equivar_jax import processes
from equivar_jax.errors import InputError
from equivar_jax.processes import Command, run_side_by_side

SLEEP = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit('saved'))\n"
SLEEP += "print('begun', flush=True)\ntime.sleep(600)"


def command(folder, name, code):
    return Command(name, [sys.executable, "-c", code], folder / f"{name}.log")


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr(processes, "_cores", lambda: sorted(os.sched_getaffinity(0)) * 2)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity")
def test_every_command_has_its_share_of_the_cores_and_this_process_keeps_all(tmp_path, monkeypatch):
    cores = sorted(os.sched_getaffinity(0))
    monkeypatch.setattr(processes, "_cores", lambda: cores[:2])
    code = "import os; print(sorted(os.sched_getaffinity(0)))"
    looks = []
    some = [command(tmp_path, f"c{k}", code) for k in range(3)]
    assert run_side_by_side(some, lambda: looks.append(1)) is None
    shares = [eval(one.log.read_text()) for one in some]
    assert shares[2] == cores[:2]  # alone in the second round
    assert sorted(shares[0] + shares[1]) == (cores[:2] if len(cores) > 1 else cores)
    assert sorted(os.sched_getaffinity(0)) == cores
    assert len(looks) >= 2


@pytest.mark.usefixtures("two_cores")
def test_a_complaint_is_passed_on_and_the_others_are_ended(tmp_path):
    bad = command(
        tmp_path, "second", "import sys; print('error: frame 3: no cell', file=sys.stderr); sys.exit(2)"
    )
    good = command(tmp_path, "first", SLEEP)
    with pytest.raises(InputError, match=r"^second: frame 3: no cell$"):
        run_side_by_side([good, bad])
    assert "begun" not in good.log.read_text() or "saved" in good.log.read_text()


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("code", "says"),
    [("raise SystemExit(7)", "status 7"), ("import os; os.kill(os.getpid(), 9)", "signal SIGKILL")],
)
def test_a_crash_names_the_file_that_says_more(tmp_path, code, says):
    with pytest.raises(RuntimeError, match=rf"bad ended with {says}; see .*bad\.log"):
        run_side_by_side([command(tmp_path, "bad", code), command(tmp_path, "good", "pass")])


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_which_save_their_work_first(tmp_path, kind):
    some = [command(tmp_path, f"c{k}", SLEEP) for k in range(2)]

    def look():
        if all(one.log.exists() and "begun" in one.log.read_text() for one in some) and not sent:
            sent.append(kind)
            os.kill(os.getpid(), kind)

    sent: list[signal.Signals] = []
    assert run_side_by_side(some, look) is kind
    assert all("saved" in one.log.read_text() for one in some)
