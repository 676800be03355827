"""A potential that counts, and that can be interrupted."""

from equivar_jax.response.crystal.example import PairSprings


class CountingSprings(PairSprings):
    """Springs that raise `KeyboardInterrupt` in place of calculation number `stop` (from 1)."""

    def __init__(self, stop=None, **constants):
        super().__init__(**constants)
        self.count, self.stop = 0, stop

    def calculate(self, *arguments, **options):
        self.count += 1
        if self.count == self.stop:
            raise KeyboardInterrupt
        super().calculate(*arguments, **options)


class NoStress(PairSprings):
    """As potentials that give forces only."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, *arguments, **options):
        super().calculate(*arguments, **options)
        self.results.pop("stress", None)


def ferroelectric():
    """Springs whose cubic crystal is unstable, in a double well."""
    return PairSprings(stretching=-0.1, second=0.5, quartic=2.0)


def no_stress():
    """Forces only."""
    return NoStress()
