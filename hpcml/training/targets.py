"""What a network learns: a property at one point of its axes, its name, values and unit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from hpcml.errors import InputError, SettingsError
from hpcml.store import Dataset, Schema

EXTENSIVE = frozenset(
    {
        "alpha_iso",
        "electronic_spatial_extent",
        "energy",
        "enthalpy_298k",
        "free_energy_298k",
        "heat_capacity",
        "internal_energy_0k",
        "internal_energy_298k",
        "zpve",
    }
)
"""Targets that are sums over atoms unless the settings say otherwise.

beta_parallel is a projection on the molecule's own dipole and does not add up; nor does the
length of the dipole.
"""


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One property that a network learns; settings, model file and tables all hold it whole.

    name         a scalar column of the data set ("alpha_iso"), or "dipole" for its length
    process      of a hyperpolarizability: "static", "shg", "eope", "or"
    frequency    hartree, where the column has a frequency axis
    extensive    sum over atoms (true) or mean (false); None: by EXTENSIVE
    yes_or_no    whether it is 0 or 1: the network gives the logit of its probability, learns by
                 cross-entropy, and it is the logit that is explained
    """

    name: str
    process: str = "static"
    frequency: float = 0.0
    extensive: bool | None = None
    yes_or_no: bool = False

    @property
    def is_static(self) -> bool:
        """Whether it is a property in a field that does not change."""
        return self.process == "static" and self.frequency == 0.0

    @property
    def label(self) -> str:
        """Its name in tables, "beta_parallel[shg,0.0656]" and plain where static: one to one with
        name, process and frequency, and for eyes alone: nothing reads it back."""
        return self.name if self.is_static else f"{self.name}[{self.process},{self.frequency!r}]"

    @property
    def share_name(self) -> str:
        """The column that holds what each atom contributes to the target."""
        return f"share_{self.name}"

    @property
    def is_extensive(self) -> bool:
        """Whether the property grows with the molecule: what was said, or the habit of its name."""
        return self.name in EXTENSIVE if self.extensive is None else self.extensive

    def check(self, schema: Schema) -> None:
        """InputError where a data set of this schema has no such target."""
        if self.name != "dipole" or "dipole" not in schema.columns:
            schema.scalar_index(self.name, self.process, self.frequency)

    def check_shares(self, schema: Schema | None = None) -> None:
        """SettingsError where no atom can have a share of the target, or the schema has none."""
        if self.yes_or_no:
            raise SettingsError(f"{self.label} is yes_or_no, and a logit has no shares")
        if not self.is_static:
            raise SettingsError(f"{self.label}: there are shares of static properties alone")
        if not self.is_extensive:
            raise SettingsError(
                f"{self.label} is a mean over atoms and its shares sum to it: set extensive = true"
            )
        if schema is None:
            return
        if self.share_name not in schema.columns or schema.column(self.share_name).per != "atom":
            raise SettingsError(
                f"no column {self.share_name!r} of atoms here: leave share_weight out"
            )
        units = [schema.column(name).unit for name in (self.share_name, self.name)]
        if units[0] != units[1]:
            raise SettingsError(
                f"{self.share_name} is in {units[0]!r}, {self.name} in {units[1]!r}: "
                "give both in one unit"
            )

    def values(self, dataset: Dataset) -> NDArray[np.float64]:
        """The target of every row.

        Returns
        -------
        (N,) float64 array
            In the unit of the column; NaN where a row has no value.

        Raises
        ------
        InputError
            Where the data set has no such column, frequency or process, or a value that is
            neither yes nor no.
        """
        if self.name == "dipole":
            return np.asarray(np.linalg.norm(dataset.column("dipole"), axis=1))
        values = dataset.scalar(self.name, process=self.process, frequency=self.frequency)
        if self.yes_or_no and not np.isin(values[np.isfinite(values)], (0.0, 1.0)).all():
            row = int(np.flatnonzero(np.isfinite(values) & ~np.isin(values, (0.0, 1.0)))[0])
            raise InputError(
                f"{self.name} is yes_or_no, expected 0 or 1: row {dataset.keys[row]} has "
                f"{values[row]:g}"
            )
        return values

    def unit(self, dataset: Dataset) -> str:
        """Its unit as people write it: "a0^3"."""
        return "probability" if self.yes_or_no else short_unit(dataset.unit(self.name))

    def output_unit(self, unit: str) -> str:
        """The unit of what the network gives, and of its relevances."""
        return "logit" if self.yes_or_no else unit

    def told(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the network gives as people read it, in ``unit``.

        Parameters
        ----------
        outputs : (...,) array

        Returns
        -------
        (...,) array
        """
        return np.asarray(expit(outputs)) if self.yes_or_no else outputs


def all_told(targets: Sequence[Target], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """A network's outputs as people read them, in the targets' units.

    Parameters
    ----------
    outputs : (M, T) array

    Returns
    -------
    (M, T) array
    """
    if not any(target.yes_or_no for target in targets):
        return outputs
    columns = [target.told(column) for target, column in zip(targets, outputs.T, strict=True)]
    return np.stack(columns, axis=1)


def symbols_of(unit: str) -> str:
    """The symbols of a unit without the words around them.

    Of "atomic units (e^2 a0^2 Eh^-1 = a0^3)" what stands last in the brackets is taken.
    """
    if not unit.startswith("atomic units (") or not unit.endswith(")"):
        return unit
    return unit.removeprefix("atomic units (")[:-1].rsplit("=", 1)[-1].strip()


def short_unit(unit: str) -> str:
    """The unit as people write it: "a0^3", and "a.u." for what has no symbol of its own."""
    symbols = symbols_of(unit)
    return "a.u." if unit.startswith("atomic units") and "=" not in unit else symbols
