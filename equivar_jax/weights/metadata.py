"""What the arrays of a checkpoint mean: settings, elements, statistics, calibration, domain."""

from dataclasses import asdict, dataclass, field
from typing import Any

from equivar_jax.config.old_settings import read_config
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import from_dict
from equivar_jax.errors import InputError
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.domain import Domain
from equivar_jax.uncertainty.features import FeatureDomain

ARCHITECTURE = "Equivar"
"""The architecture that checkpoints name."""
FORMAT = 1
"""Version of the form of checkpoints."""


@dataclass(frozen=True)
class Metadata:
    """The meaning of the arrays of a checkpoint."""

    config: Config
    """The settings of the run that made it."""
    elements: tuple[int, ...]
    """Atomic numbers that occur in the training part, in rising order."""
    statistics: dict[str, int | float] = field(default_factory=dict)
    """Statistics of the training part: structures, atoms, edges, mean_neighbours."""
    epoch: int = 0
    """Number of completed epochs."""
    batch: int = 0
    """Number of completed batches of the next epoch, if the run was interrupted within it."""
    validation_mae: float | None = None
    """Mean absolute validation error of these weights, in e; None before the first validation. That of the
    weights of the package is the one on their card."""
    best_validation_mae: float | None = None
    """The lowest validation error so far in this run, in e."""
    members: int = 1
    """Number of networks; if there are several, every weight has a leading axis of this length."""
    calibration: Calibration | None = None
    """Calibration of the uncertainty of a committee."""
    dielectric_calibration: Calibration | None = None
    """The same of its electronic dielectric tensors; None if there was no readout or no label."""
    domain: Domain | None = None
    """Domain of the training data, for warnings; None if it is not known."""
    features: tuple[FeatureDomain, ...] = ()
    """What the last features of the training data were like, for each network; empty if it is not known."""

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as nested dictionaries for JSON, with architecture and format."""
        return {"architecture": ARCHITECTURE, "format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> "Metadata":
        """Make metadata from the dictionaries that `to_json` returns.

        Args:
            values: The dictionaries.
            where: The checkpoint, for error messages.

        Raises:
            InputError: The checkpoint is of another architecture or format, or has settings that this version
                does not have.
        """
        values = dict(values)
        architecture, version = values.pop("architecture", None), values.pop("format", None)
        if (architecture, version) != (ARCHITECTURE, FORMAT):
            raise InputError(
                f"{where}: checkpoint of architecture {architecture!r}, format {version}, but this program "
                f"reads {ARCHITECTURE!r}, format {FORMAT}; load it with the version that wrote it"
            )
        values["config"] = read_config(values["config"], f"{where}: config")
        values["elements"] = tuple(values["elements"])
        for name, kind in (
            ("calibration", Calibration),
            ("dielectric_calibration", Calibration),
            ("domain", Domain),
        ):
            if values.get(name) is not None:
                values[name] = from_dict(kind, values[name], f"{where}: {name}")
        values["features"] = tuple(
            FeatureDomain.from_json(one, f"{where}: features") for one in values.get("features", ())
        )
        return cls(**values)
