"""Signals at a certain moment of a training."""

import os

from equivar_jax.training import loop


def signal_at(monkeypatch, batch, kind):
    """Send this process a signal as soon as it has trained on so many batches."""

    class Bar(loop.ProgressBar):
        def update(self, n=1):
            super().update(n)
            if self.n == batch:
                os.kill(os.getpid(), kind)

    monkeypatch.setattr(loop, "ProgressBar", Bar)
