import os
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import pytest

from equivar_jax import parallel
from equivar_jax.errors import InputError
from equivar_jax.parallel import map_in_order


def process_and_square(number):
    if number == 13:
        raise InputError("number 13: not liked; use another")
    return os.getpid(), number**2


@pytest.mark.parametrize("processes", [False, True])
def test_results_come_in_order_beside_a_running_jax(monkeypatch, processes):
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    jnp.zeros(1).block_until_ready()
    found = list(map_in_order(process_and_square, range(12), processes=processes))
    assert [square for _, square in found] == [number**2 for number in range(12)]
    assert (os.getpid() in {process for process, _ in found}) is not processes


@pytest.mark.parametrize("processes", [False, True])
def test_an_error_of_the_work_reaches_the_caller_in_its_place(monkeypatch, processes):
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    results = map_in_order(process_and_square, range(11, 20), processes=processes)
    assert [next(results)[1], next(results)[1]] == [121, 144]
    with pytest.raises(InputError, match="number 13"):
        next(results)


def test_a_script_without_a_guarded_entry_still_gets_its_results(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            from operator import neg
            from equivar_jax import parallel
            parallel.available_cores = lambda: 2
            print(list(parallel.map_in_order(neg, [1, 2, 3], processes=True)))
        """)
    )
    finished = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == "[-1, -2, -3]\n"
    assert "worker processes died" in finished.stderr


def test_libraries_in_workers_use_one_thread_and_the_environment_is_restored(monkeypatch):
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = list(map_in_order(os.getenv, ["OMP_NUM_THREADS", "MKL_NUM_THREADS"], processes=True))
    assert found == ["1", "1"]
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
