"""Weave, the "molecular graph convolutions" of Kearnes et al. 2016, called GC by Faber et al. 2017.

S. Kearnes, K. McCloskey, M. Berndl, V. Pande, P. Riley, J. Comput.-Aided Mol. Des. 30, 595
(2016); F. Faber et al., J. Chem. Theory Comput. 13, 5255 (2017).  Atoms and pairs of atoms
carry features, and each layer weaves them into one another.

Where the papers leave room: the pairs are those of different atoms (no pair of an atom with
itself), and as a pair's features do not depend on its direction, each pair is held once.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.models.batch import Batch
from hpcml.models.hyperparameters import Size
from hpcml.models.layers import (
    BatchNorm,
    Concatenate,
    Dropout,
    Gather,
    Histogram,
    Input,
    Linear,
    ReLU,
    ScatterSum,
    Sum,
    Tanh,
)
from hpcml.models.network import Network
from hpcml.models.readout import AtomicReadout, MoleculeReadout, Scaling
from hpcml.molecules.features import ATOM_FEATURES, PAIR_FEATURES


class WeaveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the network; the defaults are the published ones (two layers, W2).

    layers      in each, atoms and pairs are woven into one another
    hidden      features of an atom and of a pair between layers
    representation   an atom's features after the last layer
    readout     "histogram": fuzzy histogram of the atoms' features and fully connected layers
                (Kearnes); "sum": one term an atom, summed (Faber, extensive targets)
    fully_connected   sizes of the layers from the histogram to the output
    dropout     after each fully connected layer
    """

    layers: Size = 2
    hidden: Size = 50
    representation: Size = 128
    readout: Literal["histogram", "sum"] = "histogram"
    fully_connected: tuple[Size, ...] = (2000, 100)
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.25


class _Dense(nn.Sequential):
    """ReLU(BatchNorm(W x + b))."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(Linear(inputs, outputs), BatchNorm(outputs), ReLU())


class _AtomsToPairs(nn.Module):
    """AP_ij + AP_ji with AP_ij = ReLU(BatchNorm([A_i, A_j] W + b)): (A, Fa) -> (E / 2, F).

    [A_i, A_j] W is A_i W_first + A_j W_second: multiplied atom by atom, then brought to pairs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = Linear(inputs, outputs)
        self.second = Linear(inputs, outputs, bias=False)
        self.gather = Gather()
        self.add = Sum()
        self.norm = BatchNorm(outputs)
        self.activation = ReLU()
        self.add_turned = Sum()

    def forward(self, atoms: Tensor, batch: Batch) -> Tensor:
        i, j = batch.pairs
        pairs = self.add(self.gather(self.first(atoms), i), self.gather(self.second(atoms), j))
        one_way, other_way = self.activation(self.norm(pairs)).chunk(2)
        total: Tensor = self.add_turned(one_way, other_way)
        return total


class _PairsToAtoms(nn.Module):
    """PA_i = sum_j ReLU(BatchNorm(P_ij W + b)): (E / 2, Fp) -> (A, F)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = _Dense(inputs, outputs)
        self.over_pairs = ScatterSum()
        self.add = Sum()

    def forward(self, pairs: Tensor, batch: Batch) -> Tensor:
        i, j = batch.pairs[:, : len(pairs)]
        values = self.dense(pairs)
        total: Tensor = self.add(
            self.over_pairs(values, i, batch.atoms), self.over_pairs(values, j, batch.atoms)
        )
        return total


class _AtomUpdate(nn.Module):
    """A' = f([AA, PA] W_A)."""

    def __init__(self, atom_inputs: int, pair_inputs: int, hidden: int) -> None:
        super().__init__()
        self.atom_to_atom = _Dense(atom_inputs, hidden)
        self.pair_to_atom = _PairsToAtoms(pair_inputs, hidden)
        self.concatenate = Concatenate()
        self.dense = _Dense(2 * hidden, hidden)

    def forward(self, atoms: Tensor, pairs: Tensor, batch: Batch) -> Tensor:
        woven = self.concatenate(self.atom_to_atom(atoms), self.pair_to_atom(pairs, batch))
        new: Tensor = self.dense(woven)
        return new


class _PairUpdate(nn.Module):
    """P' = f([AP_ij + AP_ji, PP_ij] W_P)."""

    def __init__(self, atom_inputs: int, pair_inputs: int, hidden: int) -> None:
        super().__init__()
        self.atom_to_pair = _AtomsToPairs(atom_inputs, hidden)
        self.pair_to_pair = _Dense(pair_inputs, hidden)
        self.concatenate = Concatenate()
        self.dense = _Dense(2 * hidden, hidden)

    def forward(self, atoms: Tensor, pairs: Tensor, batch: Batch) -> Tensor:
        woven = self.concatenate(self.atom_to_pair(atoms, batch), self.pair_to_pair(pairs))
        new: Tensor = self.dense(woven)
        return new


class Weave(Network):
    """Forward: batch -> (M, T) in the target's unit."""

    Settings: ClassVar[type[msgspec.Struct]] = WeaveSettings
    inputs = frozenset({"atom_features", "pair_features"})

    def __init__(self, settings: WeaveSettings, scaling: Scaling) -> None:
        super().__init__(settings, scaling)
        hidden, size = settings.hidden, settings.representation
        atom_sizes = [len(ATOM_FEATURES)] + [hidden] * settings.layers
        pair_sizes = [len(PAIR_FEATURES)] + [hidden] * settings.layers
        widths = list(zip(atom_sizes, pair_sizes, strict=True))[: settings.layers]
        self.atom_input = Input("atom")
        self.pair_input = Input("pair")
        self.atom_updates = nn.ModuleList(_AtomUpdate(*width, hidden) for width in widths)
        # the last layer's pairs would not be read by anyone
        self.pair_updates = nn.ModuleList(_PairUpdate(*width, hidden) for width in widths[:-1])
        self.atom_dense = nn.Sequential(
            Linear(atom_sizes[-1], size),
            Tanh(),
            BatchNorm(size),  # the histogram's bins are those of a unit normal
        )
        self.additive = settings.readout == "sum"
        if self.additive:
            self.head: nn.Module = Linear(size, scaling.targets)
            self.atomic_readout = AtomicReadout(scaling)
            return
        self.histogram = Histogram()
        self.over_atoms = ScatterSum()
        layers: list[nn.Module] = []
        width = size * Histogram.bins
        for outputs in settings.fully_connected:
            layers += [_Dense(width, outputs), Dropout(settings.dropout)]
            width = outputs
        self.head = nn.Sequential(*layers, Linear(width, scaling.targets))
        self.molecule_readout = MoleculeReadout(scaling)

    def column_names(self) -> dict[str, list[str]]:
        """The features of atoms and of pairs."""
        return {"atom_input": list(ATOM_FEATURES), "pair_input": list(PAIR_FEATURES)}

    def first_layers(self) -> dict[str, list[str]]:
        """Those of the first updates."""
        atoms = ["atom_updates.0.atom_to_atom.0"]
        pairs = ["atom_updates.0.pair_to_atom.dense.0"]
        if len(self.pair_updates):
            atoms += [f"pair_updates.0.atom_to_pair.{which}" for which in ("first", "second")]
            pairs.append("pair_updates.0.pair_to_pair.0")
        return {"atom_input": atoms, "pair_input": pairs}

    def representation(self, batch: Batch) -> Tensor:
        """The atoms' final features, (A, representation).

        Returns
        -------
        (A, representation) Tensor
        """
        atoms = self.atom_input(batch.atom_features)
        pairs = self.pair_input(batch.pair_features)[: batch.pairs.shape[1] // 2]
        for layer, atom_update in enumerate(self.atom_updates):
            new_atoms = atom_update(atoms, pairs, batch)
            if layer < len(self.pair_updates):
                pairs = self.pair_updates[layer](atoms, pairs, batch)
            atoms = new_atoms
        final: Tensor = self.atom_dense(atoms)
        return final

    def molecule_representation(self, atoms: Tensor, batch: Batch) -> Tensor:
        """What the last affine layer reads of a molecule; with the readout "sum" the atoms' mean.

        Parameters
        ----------
        atoms : (A, representation) Tensor

        Returns
        -------
        (M, G) Tensor
            G is the last of ``fully_connected``, or the histogram's size where there is none.
        """
        if self.additive:
            return super().molecule_representation(atoms, batch)
        assert isinstance(self.head, nn.Sequential)
        histogram = self.over_atoms(self.histogram(atoms), batch.molecule, batch.size)
        hidden: Tensor = self.head[:-1](histogram)
        return hidden

    def atomic_terms(self, batch: Batch) -> Tensor:
        """What each atom adds to the prediction, (A, T); InputError with the histogram readout.

        Returns
        -------
        (A, T) Tensor
            In the targets' units.
        """
        if not self.additive:
            raise InputError("Weave with the histogram readout has no atomic terms: readout='sum'")
        return self.atomic_readout.terms(self.head(self.representation(batch)), batch)

    def forward(self, batch: Batch) -> Tensor:
        atoms = self.representation(batch)
        prediction: Tensor
        if self.additive:
            prediction = self.atomic_readout(self.head(atoms), batch)
        else:
            molecules = self.over_atoms(self.histogram(atoms), batch.molecule, batch.size)
            prediction = self.molecule_readout(self.head(molecules), batch)
        return prediction
