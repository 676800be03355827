"""Devices of a run that is data-parallel: weights on all of them, a part of every batch on each.

The parts of a batch lie one after the other: the first axis of every array of a `Batch` is divided among the
devices, so that on its device a part is a whole batch, whose edges and nodes know each other, while sums over
nodes and graphs are those of all devices.
"""

import functools
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from equivar_jax.distributed import is_first_process
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Batch
from equivar_jax.runtime import Interruption

T = TypeVar("T")

AXIS = "devices"
"""Name of the axis of the mesh."""
ON_ALL = PartitionSpec()
"""The same array on every device."""
IN_PARTS = PartitionSpec(AXIS)
"""An array of which each device has a part."""


@dataclass(frozen=True)
class Devices:
    """The devices of a run, two or more, of this process or of all processes of the run."""

    mesh: Mesh
    """Of one axis; the devices of a process lie together."""

    @property
    def count(self) -> int:
        """Number of devices, of all processes together."""
        return self.mesh.size

    @property
    def own(self) -> list[int]:
        """Places in the mesh of the devices of this process."""
        mine = jax.process_index()
        return [k for k, device in enumerate(self.mesh.devices.flat) if device.process_index == mine]

    def replicate(self, tree: T) -> T:
        """Put a tree of arrays on every device; all processes must give the same."""
        sharding = NamedSharding(self.mesh, ON_ALL)
        return jax.tree.map(
            lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
        )

    def replicate_first(self, tree: T) -> T:
        """Put a tree of arrays of the first process on every device; all processes take part.

        Computed by each process for itself, weights could differ in their last bits from machine to machine,
        and would then drift apart.
        """
        from jax.experimental import multihost_utils

        if jax.process_count() > 1:
            tree = multihost_utils.broadcast_one_to_all(tree)
        return self.replicate(tree)

    def place(self, parts: Sequence[Batch]) -> Batch:
        """Put the parts of a batch on the devices.

        Args:
            parts: Of one shape, for the devices `own`, in this order.
        """
        sharding = NamedSharding(self.mesh, IN_PARTS)

        def join(*leaves: np.ndarray) -> jax.Array:
            own = np.concatenate(leaves)
            shape = (self.count * len(leaves[0]), *own.shape[1:])
            return jax.make_array_from_process_local_data(sharding, own, shape)

        return jax.tree.map(join, *parts)

    def largest(self, value: int) -> jax.Array:
        """Begin to find the largest of the integers that the processes give; reading it waits for all."""
        own = np.full(len(self.own), value, np.int32)
        sharding = NamedSharding(self.mesh, IN_PARTS)
        return _largest(self.mesh)(jax.make_array_from_process_local_data(sharding, own, (self.count,)))

    def first_says(self, value: bool) -> bool:
        """Return what the first process says; all processes wait for each other."""
        return bool(self.largest(int(value and is_first_process())))


@functools.cache
def _largest(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    """Compile the largest of the integers on the devices of a mesh."""
    return jax.jit(jnp.max, out_shardings=NamedSharding(mesh, ON_ALL))


def choose_devices(number: int | None) -> Devices | None:
    """Choose the devices of a run.

    Args:
        number: How many; None takes the one of a process that is alone, and all those of several processes.

    Returns:
        The devices, or None for a single one.

    Raises:
        InputError: there are not so many, or several processes are to leave some idle.
    """
    there = jax.devices()
    if jax.process_count() > 1:
        if number not in (None, len(there)):
            raise InputError(
                f"--devices {number}: the {jax.process_count()} processes of this run use all their "
                f"{len(there)} devices; leave out --devices, or begin another number of processes"
            )
        return Devices(Mesh(np.array(there), (AXIS,)))
    if number is None:
        return None
    if not 1 <= number <= len(there):
        hint = ""
        if there[0].platform == "cpu":
            hint = "; XLA_FLAGS=--xla_force_host_platform_device_count=N makes N of a CPU"
        raise InputError(
            f"--devices {number}: this process has {len(there)} of kind {there[0].device_kind}; give 1 to "
            f"{len(there)}{hint}"
        )
    return Devices(Mesh(np.array(there[:number]), (AXIS,))) if number > 1 else None


class SharedInterruption:
    """Lets all processes of a run stop after the same batch, whichever of them got a signal.

    A signal may reach the processes at different moments, or one of them only; if each stopped when it likes,
    the others would wait for it for ever.
    """

    LAG = 2
    """Batches after which the answer is read, so that no process waits for a step that has just begun."""

    def __init__(self, own: Interruption, devices: Devices | None):
        """Begin to listen, also to the signals that this process itself gets."""
        self._own = own
        self._devices = devices if jax.process_count() > 1 else None
        self._asked: deque[jax.Array] = deque()
        self._agreed = 0

    @property
    def signal(self) -> signal.Signals | None:
        """The signal after which the run is to stop now, the same one in all processes."""
        if self._devices is None:
            return self._own.signal
        return signal.Signals(self._agreed) if self._agreed else None

    def after_batch(self) -> None:
        """Ask the other processes, and read what they said some batches ago."""
        if self._devices is None:
            return
        self._ask()
        if len(self._asked) > self.LAG:
            self._agreed = max(self._agreed, int(self._asked.popleft()))

    def settle(self) -> None:
        """Ask the other processes, and wait for what they say."""
        if self._devices is None:
            return
        self._ask()
        self._agreed = max(self._agreed, *(int(asked) for asked in self._asked))
        self._asked.clear()

    def _ask(self) -> None:
        assert self._devices is not None
        self._asked.append(self._devices.largest(self._own.signal or 0))
