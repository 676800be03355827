"""Born effective charges from a crystal structure: the Equivar network in JAX.

The weights that come with the package predict at once; other weights are loaded from the folder of a run:

    from equivar_jax import predict
    Z = predict(atoms)  # float64 (N, 3, 3) in e: [atom, field direction, displacement direction]

    from equivar_jax import load
    Z = load("runs/my-run").predict(atoms)  # with weights of your own
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equivar_jax.prediction.loading import load, predict
    from equivar_jax.prediction.predictor import Predictor

    __version__: str

__all__ = ["Predictor", "load", "predict"]
__path__ = [*__path__, f"{__path__[0]}/old_places"]  # see `forwarded`


def __getattr__(name: str) -> Any:
    # These imports are lazy, so that `import equivar_jax.config` does not wait for JAX.
    if name in __all__:
        module = import_module("equivar_jax.predict")
        return module if name == "predict" else getattr(module, name)
    if name == "__version__":
        # From the installation, whose version is from the tags of git (docs/reference/releases.md).
        from importlib import metadata

        try:
            return metadata.version("equivar_jax")
        except metadata.PackageNotFoundError:  # a tree of sources that is not installed
            return "0+unknown"
    raise AttributeError(f"module 'equivar_jax' has no attribute {name!r}")
