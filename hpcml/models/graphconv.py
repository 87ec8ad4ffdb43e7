"""GraphConv, the GC of DeepChem and MoleculeNet: neural fingerprints with a maximum of neighbours.

D. Duvenaud et al., arXiv:1509.09292; Z. Wu et al., Chem. Sci. 9, 513 (2018).  As in DeepChem,
save for the graph: ours has the hydrogens as nodes, and the features of
``hpcml.molecules.features``.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import torch
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.models.batch import Batch
from hpcml.models.hyperparameters import Size, Sizes
from hpcml.models.layers import (
    BatchNorm,
    Concatenate,
    Gather,
    Input,
    Linear,
    ReLU,
    ScatterMax,
    ScatterSum,
    Sum,
    Tanh,
    watched,
)
from hpcml.models.neighbours import NeighbourMaximum, Neighbours, NeighbourSum
from hpcml.models.network import Network
from hpcml.models.readout import MoleculeReadout, Scaling
from hpcml.molecules.features import ATOM_FEATURES


class GraphConvSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the network; the defaults are DeepChem's.

    hidden            features after each convolution
    dense             features of an atom before the molecule is summed up
    largest_degree    bonds an atom can have; each number of bonds has weights of its own
    """

    hidden: Sizes = (64, 64)
    dense: Size = 128
    largest_degree: Size = 10


class SumOverNeighbours(nn.Module):
    """sum_j h_j over the bonded neighbours of each atom: (A, F) -> (A, F)."""

    def __init__(self) -> None:
        super().__init__()
        self.gather = Gather()
        self.total = ScatterSum()

    def forward(self, atoms: Tensor, bonded: Neighbours) -> Tensor:
        if not watched((self.gather, Gather), (self.total, ScatterSum)):
            total: Tensor = NeighbourSum.apply(atoms, bonded)
            return total
        i, j = bonded.bonds
        summed: Tensor = self.total(self.gather(atoms, j), i, len(atoms))
        return summed


class GraphConvolution(nn.Module):
    """h'_i = ReLU(W_d^rel sum_j h_j + b_d^rel + W_d^self h_i + b_d^self), d bonds at atom i.

    (A, F) -> (A, hidden).
    """

    def __init__(self, inputs: int, outputs: int, largest_degree: int) -> None:
        super().__init__()
        self.over_neighbours = SumOverNeighbours()
        degrees = range(largest_degree + 1)
        self.own = nn.ModuleList(Linear(inputs, outputs) for _ in degrees)
        self.neighbours = nn.ModuleList(Linear(inputs, outputs) for _ in degrees[1:])
        self.add = Sum()
        self.activation = ReLU()

    def forward(self, atoms: Tensor, bonded: Neighbours) -> Tensor:
        summed = self.over_neighbours(atoms, bonded)
        rows = []
        for degree, itself, neighbours in bonded.blocks(atoms, summed):
            row = self.own[degree](itself)
            if degree > 0:  # an atom by itself has no neighbours to add
                row = self.add(row, self.neighbours[degree - 1](neighbours))
            rows.append(row)
        new: Tensor = self.activation(torch.cat(rows))
        return new


class GraphPool(nn.Module):
    """h_i = max over atom i and its neighbours, feature by feature: (A, F) -> (A, F)."""

    def __init__(self) -> None:
        super().__init__()
        self.gather = Gather()
        self.largest = ScatterMax()

    def forward(self, atoms: Tensor, bonded: Neighbours) -> Tensor:
        if not watched((self.gather, Gather), (self.largest, ScatterMax)):
            largest: Tensor = NeighbourMaximum.apply(atoms, bonded)
            return largest
        itself = torch.arange(len(atoms), device=atoms.device)
        i, j = torch.cat([itself.expand(2, -1), bonded.bonds], dim=1)
        pooled: Tensor = self.largest(self.gather(atoms, j), i, len(atoms))
        return pooled


class GraphConv(Network):
    """Forward: batch -> (M, T) in the target's unit."""

    Settings: ClassVar[type[msgspec.Struct]] = GraphConvSettings
    inputs = frozenset({"atom_features", "bonds"})

    def __init__(self, settings: GraphConvSettings, scaling: Scaling) -> None:
        super().__init__(settings, scaling)
        self.largest_degree = settings.largest_degree
        widths = (len(ATOM_FEATURES), *settings.hidden)
        self.atom_input = Input("atom")
        self.by_degree = Gather()
        self.convolutions = nn.ModuleList(
            GraphConvolution(*width, settings.largest_degree)
            for width in zip(widths, settings.hidden, strict=False)
        )
        self.norms = nn.ModuleList(BatchNorm(size) for size in settings.hidden)
        self.pools = nn.ModuleList(GraphPool() for _ in settings.hidden)
        self.dense = nn.Sequential(
            Linear(widths[-1], settings.dense), ReLU(), BatchNorm(settings.dense)
        )
        self.as_before = Gather()
        self.over_atoms = ScatterSum()
        self.largest_atom = ScatterMax()
        self.concatenate = Concatenate()
        self.tanh = Tanh()
        self.head = Linear(2 * settings.dense, scaling.targets)
        self.readout = MoleculeReadout(scaling)

    def column_names(self) -> dict[str, list[str]]:
        """The features of atoms."""
        return {"atom_input": list(ATOM_FEATURES)}

    def first_layers(self) -> dict[str, list[str]]:
        """Those of the first convolution, for each number of bonds."""
        degrees = range(self.largest_degree + 1)
        own = [f"convolutions.0.own.{degree}" for degree in degrees]
        return {
            "atom_input": own + [f"convolutions.0.neighbours.{degree}" for degree in degrees[:-1]]
        }

    def _final(self, batch: Batch) -> tuple[Tensor, Neighbours]:
        """The atoms' final features, by falling number of bonds, and which atom stands where.

        So each set of weights meets its atoms as one matrix.  InputError for an atom with too
        many bonds.
        """
        assert batch.bonds is not None
        bonded = Neighbours.of(batch.bonds, batch.atoms)
        if len(bonded.columns) > self.largest_degree:
            raise InputError(
                f"graphconv: an atom has {len(bonded.columns)} bonds, more than largest_degree "
                f"{self.largest_degree}"
            )
        atoms = self.by_degree(self.atom_input(batch.atom_features), bonded.order)
        layers = zip(self.convolutions, self.norms, self.pools, strict=True)
        for convolution, norm, pool in layers:
            atoms = pool(norm(convolution(atoms, bonded)), bonded)
        return self.dense(atoms), bonded

    def representation(self, batch: Batch) -> Tensor:
        """The atoms' final features, (A, dense); InputError for an atom with too many bonds.

        Returns
        -------
        (A, dense) Tensor
        """
        atoms, bonded = self._final(batch)
        final: Tensor = self.as_before(atoms, bonded.place)
        return final

    def molecule_representation(self, atoms: Tensor, batch: Batch) -> Tensor:
        """The sums and the maxima over a molecule's atoms, as the head reads them, (M, 2 dense).

        Parameters
        ----------
        atoms : (A, dense) Tensor

        Returns
        -------
        (M, 2 dense) Tensor
        """
        return self._molecules(atoms, batch.molecule, batch.size)

    def _molecules(self, atoms: Tensor, molecule: Tensor, size: int) -> Tensor:
        both = self.concatenate(
            self.over_atoms(atoms, molecule, size), self.largest_atom(atoms, molecule, size)
        )
        molecules: Tensor = self.tanh(both)
        return molecules

    def forward(self, batch: Batch) -> Tensor:
        atoms, bonded = self._final(batch)
        molecule = batch.molecule.index_select(0, bonded.order)
        molecules = self._molecules(atoms, molecule, batch.size)
        prediction: Tensor = self.readout(self.head(molecules), batch)
        return prediction
