"""Born effective charges from a crystal structure: the Equivar network in JAX.

from equivar_jax import load
Z = load("runs/my-run").predict(atoms)   # float64 (N, 3, 3): [atom, field, displacement], in e
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equivar_jax.predict import Predictor, load

__all__ = ["Predictor", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy, so that `import equivar_jax.config` does not wait for JAX.
    if name in __all__:
        from equivar_jax import predict

        return getattr(predict, name)
    raise AttributeError(f"module 'equivar_jax' has no attribute {name!r}")
