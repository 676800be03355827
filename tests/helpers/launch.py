"""Trainings in processes of their own: on virtual devices of a CPU, or several processes of one run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

MANY_DEVICES = "--xla_force_host_platform_device_count="


def environment(devices=1, **variables):
    """The environment of a process that sees so many devices."""
    return {**os.environ, "XLA_FLAGS": f"{MANY_DEVICES}{devices}", **variables}


def run_program(*words, devices=1):
    """Run Python in a process of its own; returns exit status, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        env=environment(devices, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def run_python(words, devices=1):
    """Run Python in a process of its own; returns what it printed, and fails if it does."""
    status, output, errors = run_program(*words, devices=devices)
    assert status == 0, errors
    return output


def train_on(devices, *words):
    """Run `equivar train` on so many virtual devices of the CPU; returns what it printed."""
    return run_python(["-m", "equivar_jax.train", *words, "--devices", devices], devices)


def begin_processes(number, *words, own=None, program=("-m", "equivar_jax.train")):
    """Begin a training in several processes, which talk by gloo.

    Args:
        number: Of processes.
        words: Of the command line of each.
        own: Further words by the place of a process.
        program: What Python runs.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"JAX_COORDINATOR_ADDRESS": f"localhost:{port}", "JAX_NUM_PROCESSES": str(number)}
    return [
        subprocess.Popen(
            [sys.executable, *program, *map(str, words), *map(str, (own or {}).get(place, ()))],
            env=environment(
                **shared,
                JAX_PROCESS_ID=str(place),
                JAX_CPU_COLLECTIVES_IMPLEMENTATION="gloo",
                PYTHONPATH=os.pathsep.join(sys.path),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in range(number)
    ]


def end_processes(processes):
    """Wait for processes; returns exit status, standard output and standard error of each."""
    said = [process.communicate(timeout=900) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def epochs_recorded(folder: Path):
    """The number of epochs that a run has recorded so far."""
    path = folder / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0
