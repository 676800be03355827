"""The socket of i-PI 3: messages of a driver, in i-PI's own units, as `ipi/interfaces/sockets.py` has them.

A message begins with a word of 12 bytes. i-PI asks `STATUS`, and gets `NEEDINIT`, `READY` or `HAVEDATA`; it
sends `INIT` with a number and its `<parameters>`, `POSDATA` with a configuration, and `GETFORCE`, to which
the answer is `FORCEREADY` with energy, forces, virial and a text, the extras; and `EXIT` at the end. Numbers
are float64 and int32 in the order of bytes of the machine, lengths in bohr, energies in hartree.
"""

import contextlib
import socket
import time
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from equivar_jax.errors import InputError

WORD = 12
"""Bytes of a word."""
PREFIX = "/tmp/ipi_"
"""What i-PI puts before the name of a Unix socket, unless it was told otherwise by -S."""
BETWEEN_TRIES = 0.2
"""Seconds from one attempt to connect to the next."""
_SHARED = b"ipi_shm_"
"""With what i-PI's names of shared memory begin."""
FAREWELL = 5.0
"""Seconds in which i-PI may read the last words before the socket is closed."""


class LostConnectionError(Exception):
    """The other side is gone without having said `EXIT`."""


class Configuration(NamedTuple):
    """What `POSDATA` brings."""

    h: Float[np.ndarray, "3 3"]
    """Cell in bohr; the lattice vectors are its **columns**."""
    positions: Float[np.ndarray, "atoms 3"]
    """In bohr."""


class Answer(NamedTuple):
    """What goes back for a configuration."""

    energy: float
    """In hartree."""
    forces: Float[np.ndarray, "atoms 3"]
    """In hartree/bohr."""
    virial: Float[np.ndarray, "3 3"]
    """Minus stress times volume, in hartree."""
    extras: str
    """A JSON object."""


class Link:
    """One connection of a driver to i-PI.

    Args:
        connection: The open socket.
        name: Where i-PI is, for messages.
    """

    def __init__(self, connection: socket.socket, name: str):
        self.name = name
        self._socket = connection

    def receive_word(self) -> str:
        """Wait for a word."""
        return self._receive(WORD).decode("ascii", errors="replace").strip()

    def receive_parameters(self) -> str:
        """Receive what follows `INIT`: the text of i-PI's `<parameters>`, such as "symbols : NaCl , "."""
        _, length = np.frombuffer(self._receive(8), np.int32)
        return self._receive(int(length)).decode(errors="replace")

    def receive_configuration(self) -> Configuration:
        """Receive what follows `POSDATA`.

        Raises:
            InputError: these are names of shared memory.
        """
        # Names of shared memory may be less than two cells; the first of them stands behind two int32.
        head = self._receive(2 * 8)
        if head.endswith(_SHARED):
            raise InputError(f"{self.name}: i-PI wants to share memory; set mode='unix' in <ffsocket>")
        cells = np.frombuffer(head + self._receive(16 * 8)).reshape(2, 3, 3)  # the second is the inverse
        atoms = int(np.frombuffer(self._receive(4), np.int32)[0])
        positions = np.frombuffer(self._receive(24 * atoms)).reshape(atoms, 3)
        return Configuration(cells[0].copy(), positions.copy())

    def send_word(self, word: str) -> None:
        """Send a word."""
        self._send(_padded(word))

    def send_answer(self, answer: Answer) -> None:
        """Send the answer to `GETFORCE`, in one piece: i-PI waits for the rest for two seconds only."""
        extras = answer.extras.encode()
        parts = [
            _padded("FORCEREADY"),
            np.float64(answer.energy).tobytes(),
            np.int32(len(answer.forces)).tobytes(),
            np.asarray(answer.forces, np.float64).tobytes(),
            np.asarray(answer.virial, np.float64).tobytes(),
            np.int32(len(extras)).tobytes(),
            extras,
        ]
        self._send(b"".join(parts))

    def send_refusal(self, pending: str, reason: str, atoms: int) -> None:
        """Send a word that i-PI does not know in the place of an answer, so that it stands in i-PI's log.

        i-PI looks at the word of an answer once it has as many bytes as the answer must have at least, or at
        that of a status. It then leaves this driver, and waits for another.

        Args:
            pending: The word of i-PI that waits for an answer.
            reason: At most 12 characters.
            atoms: Number of atoms that i-PI has.
        """
        shortest = WORD + 8 + 4 + 24 * atoms + 72 + 4
        if pending == "GETFORCE":
            self._send(_padded(reason).ljust(shortest, b"\0"))
        else:
            self.send_word(reason)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(FAREWELL)
            while self._socket.recv(4096):
                pass  # closing with unread bytes would take back what was sent

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LostConnectionError(str(error)) from None

    def _receive(self, count: int) -> bytes:
        """Receive exactly this number of bytes.

        Raises:
            LostConnectionError: there are no more.
        """
        found = bytearray(count)
        view, done = memoryview(found), 0
        while done < count:
            try:
                more = self._socket.recv_into(view[done:])
            except OSError as error:
                raise LostConnectionError(str(error)) from None
            if not more:
                raise LostConnectionError("no more data")
            done += more
        return bytes(found)


def connect(address: str, port: int | None, wait: float, prefix: str = PREFIX) -> Link:
    """Connect to i-PI, which may be started later than its driver.

    Args:
        address: Name of the machine, or of the Unix socket, as i-PI's `<address>` has it.
        port: Number as i-PI's `<port>` has it; None for a Unix socket.
        wait: Seconds for which to try.
        prefix: What stands before the name of a Unix socket in the file system.

    Raises:
        InputError: i-PI cannot be reached.
    """
    name = f"{prefix}{address}" if port is None else f"{address}:{port}"
    deadline = time.monotonic() + wait
    while True:
        try:
            return Link(_open(address, port, prefix), name)
        except OSError as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f"no i-PI at {name} within {wait:g} s ({error.strerror or error}); start i-PI, or give "
                    "--address and --port, or --unix, as <ffsocket> has them"
                ) from None
        time.sleep(BETWEEN_TRIES)


def _open(address: str, port: int | None, prefix: str) -> socket.socket:
    """Open a socket.

    Raises:
        OSError: there is no server.
    """
    if port is None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(prefix + address)
        except OSError:
            connection.close()
            raise
        return connection
    connection = socket.create_connection((address, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # words are short and wait for answers
    return connection


def _padded(word: str) -> bytes:
    """Return the 12 bytes of a word."""
    return word[:WORD].ljust(WORD).encode("ascii")
