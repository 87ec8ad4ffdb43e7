"""Response properties of molecules, asked for in one line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from hpcml.cluster import Site
from hpcml.errors import HpcmlError, SettingsError
from hpcml.generation import Foreground
from hpcml.generation.protocol.task import Orders
from hpcml.interface.given_molecules import Many, One, as_molecule, as_molecules
from hpcml.interface.tables import heading, html_table, to_pandas
from hpcml.molecules import Molecule
from hpcml.progress import progress
from hpcml.response import Level, Request, ResponseProperties
from hpcml.response.level import Process, Property
from hpcml.response.property_table import property_table
from hpcml.response.unit_systems import AU, UnitSystem

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Computed:
    """A molecule with its response properties; shows itself as the table of ``hpcml compute``.

    molecule      in the geometry that was computed
    properties    tensors, shares, provenance (``hpcml.response.properties``)
    """

    molecule: Molecule
    properties: ResponseProperties

    def scalars(self, units: UnitSystem = AU) -> dict[str, tuple[float, str]]:
        """Name -> (value, unit) of what no rotation changes: energy, |dipole|, alpha_iso,
        beta_parallel, beta_hrs and its depolarization ratio at every frequency, zpve.

        NaN for a beta_parallel without a dipole.  Energies are in hartree in all ``units``.
        """
        found = self.properties
        norm = float(np.linalg.norm(found.dipole))
        values = {"energy": (found.energy, "Eh"), "dipole": (norm, "e a0")}
        for alpha in found.polarizability:
            end = f"({alpha.frequency:g})" if alpha.frequency else ""
            values[f"alpha_iso{end}"] = (alpha.isotropic, "a0^3")
        for beta in found.hyperpolarizability:
            end = f"({beta.process},{beta.frequencies[1]:g})" if any(beta.frequencies) else ""
            values[f"beta_parallel{end}"] = (beta.parallel(found.dipole), "a.u.")
            values[f"beta_hrs{end}"] = (beta.hrs, "a.u.")
            values[f"depolarization{end}"] = (beta.depolarization_ratio, "")
        if found.zpve is not None:
            values["zpve"] = (found.zpve, "Eh")
        if units is AU:
            return values
        of = {name: units.of(name) for name in values}
        return {
            name: (value * of[name][0], of[name][1] or unit)
            for name, (value, unit) in values.items()
        }

    def __repr__(self) -> str:
        return property_table(self.properties, self.molecule.symbols)

    def _repr_html_(self) -> str:
        return Computations([self])._repr_html_()


@dataclass(frozen=True, eq=False)
class Computations(Sequence[Computed]):
    """Several molecules with their properties.

    computed    those that were computed
    failures    name of a molecule -> why it was not
    """

    computed: Sequence[Computed]
    failures: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.computed)

    @overload
    def __getitem__(self, index: int) -> Computed: ...
    @overload
    def __getitem__(self, index: slice) -> Computations: ...
    def __getitem__(self, index: int | slice) -> Computed | Computations:
        if isinstance(index, slice):
            return Computations(self.computed[index])
        return self.computed[index]

    def __iter__(self) -> Iterator[Computed]:
        return iter(self.computed)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each molecule, a column for each number, the unit in its heading."""
        return to_pandas(self._columns())

    def _columns(self) -> dict[str, list[object]]:
        rows = [one.scalars() for one in self.computed]
        units = {name: unit for row in rows for name, (_, unit) in row.items()}
        columns: dict[str, list[object]] = {
            "name": [one.molecule.name for one in self.computed],
            "formula": [one.molecule.formula for one in self.computed],
        }
        for name, unit in units.items():
            columns[heading(name, unit)] = [row.get(name, (np.nan, ""))[0] for row in rows]
        return columns

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"Computations({len(self)} molecules{failed})"

    def _repr_html_(self) -> str:
        return html_table(self._columns())


@overload
def compute(
    molecules: One,
    method: str = ...,
    basis: str = ...,
    properties: Sequence[Property] = ...,
    *,
    processes: Sequence[Process] = ...,
    frequencies: Sequence[float] = ...,
    optimize: bool = ...,
    exact: bool = ...,
    threads: int = ...,
    memory_mb: int = ...,
) -> Computed: ...
@overload
def compute(
    molecules: Path | list[str] | Iterable[Molecule],
    method: str = ...,
    basis: str = ...,
    properties: Sequence[Property] = ...,
    *,
    processes: Sequence[Process] = ...,
    frequencies: Sequence[float] = ...,
    optimize: bool = ...,
    exact: bool = ...,
    threads: int = ...,
    memory_mb: int = ...,
) -> Computations: ...
def compute(
    molecules: One | Many,
    method: str = "HF",
    basis: str = "6-31G(d)",
    properties: Sequence[Property] = ("dipole", "alpha", "beta"),
    *,
    processes: Sequence[Process] = ("static",),
    frequencies: Sequence[float] = (),
    optimize: bool = False,
    exact: bool = False,
    threads: int = 0,
    memory_mb: int = 2000,
) -> Computed | Computations:
    """Response properties of a molecule, or of several.

    Parameters
    ----------
    molecules
        A ``Molecule`` or a SMILES: one result.  Several of them, or a ``Path``: ``Computations``,
        in which a molecule that fails is named and costs no other.
    method, basis
        "HF" or a density functional; a basis set's name or the path of a .gbs file.
    properties
        Of dipole, alpha, beta, zpve, shares, shares_loewdin.
    processes, frequencies
        Of beta (static, shg, eope, or) and of alpha and beta, in hartree.
    optimize
        The geometry first.
    exact
        No density fitting.
    threads
        Of the engine; 0: all that this process may use.

    Atomic units, physical sign.  The engine runs in a process of its own: a crash of it is an
    error, and what a campaign would try is tried.  Raises the errors of ``hpcml.errors``; of one
    molecule among several only SettingsError.

    >>> import hpcml
    >>> water = hpcml.compute("O", "HF", "STO-3G", ["alpha"])
    >>> round(water.properties.polarizability[0].isotropic, 1)
    2.5
    """
    if basis.endswith(".gbs"):  # the engine works in a folder of its own
        basis = str(Path(basis).resolve())
    orders = Orders(
        level=Level(method=method, basis=basis, exact=exact),
        request=Request(
            properties=tuple(properties),
            processes=tuple(processes),
            frequencies=tuple(frequencies),
            optimize=optimize,
        ),
        site=Site(threads=threads or len(os.sched_getaffinity(0)), memory_mb=memory_mb),
    )
    with Foreground(orders) as engine:
        if isinstance(molecules, Molecule | str):
            return computed(engine, as_molecule(molecules))
        return _each(engine, as_molecules(molecules))


def _each(engine: Foreground, molecules: Sequence[Molecule]) -> Computations:
    done: list[Computed] = []
    failures: dict[str, str] = {}
    with progress("compute", len(molecules)) as advance:
        for number, molecule in enumerate(molecules, start=1):
            try:
                done.append(computed(engine, molecule))
            except SettingsError:
                raise
            except HpcmlError as error:
                failures[molecule.name or molecule.formula] = f"{error.cause}: {error}"
            advance(number)
    return Computations(done, failures)


def computed(engine: Foreground, molecule: Molecule) -> Computed:
    """A molecule by an engine, with the geometry that its properties are of."""
    properties = engine.compute(molecule)
    moved = properties.provenance.get("optimized_positions")
    if moved is not None:
        molecule = replace(molecule, positions=np.array(moved))
    return Computed(molecule, properties)
