"""Processes that find each other and agree; trainings in several processes are in `entries`."""

import subprocess
import sys

import pytest
from helpers.launch import begin_processes, end_processes

FAR_APART = """
import time
from equivar_jax.distributed import connect, from_first, is_first_process
from equivar_jax.lost_processes import end_if_process_lost

connect()
if is_first_process():
    time.sleep(40)
with end_if_process_lost():
    print("agreed:", from_first(lambda: "the same"), flush=True)
"""
"""Two processes of which one waits for longer than gloo would, if they had not met before."""


@pytest.mark.slow  # processes of their own, and a long wait
def test_a_process_may_be_late_for_the_first_agreement():
    ended = end_processes(begin_processes(2, program=("-c", FAR_APART)))
    # How they part is another matter, tested with trainings.
    assert all("agreed: the same" in output for _, output, _ in ended), ended


TWO_SIGNS = """
import threading
import time
from equivar_jax.lost_processes import Watch

watch = Watch()
threading.Thread(target=watch.end, args=("lost process 2",), daemon=True).start()
time.sleep(1)
watch.end("lost contact with another process")
"""
"""The watch finds that a process is gone, and an error says the same while this one waits for the others."""


def test_a_process_tells_once_why_it_ends():
    ended = subprocess.run([sys.executable, "-c", TWO_SIGNS], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (75, "error: process 0 of 1: lost process 2; begin again\n")
