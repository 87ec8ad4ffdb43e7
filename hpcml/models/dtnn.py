"""DTNN, the deep tensor neural network: atoms refined by their neighbours at their distances.

K. T. Schuett, F. Arbabzadah, S. Chmiela, K.-R. Mueller, A. Tkatchenko, Nat. Commun. 8, 13890
(2017), arXiv:1609.08259.  Where the paper leaves room, as in the authors' own code: Gaussians
from 0 to 20 angstrom without a cut-off, one set of weights for all passes, and both the
interaction and the output begin at zero.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from torch import Tensor, nn

from hpcml.models.batch import Batch
from hpcml.models.elements import check_numbers
from hpcml.models.expansion import GaussianExpansion
from hpcml.models.fused import DTNNInteractions
from hpcml.models.hyperparameters import AtomicNumber, Length, Size
from hpcml.models.layers import (
    Embedding,
    Gather,
    Input,
    Linear,
    Product,
    ScatterSum,
    Sum,
    Tanh,
    watched,
)
from hpcml.models.network import Network
from hpcml.models.readout import AtomicReadout, Scaling


class DTNNSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the network; the defaults are the published ones.

    passes          T, how often the atoms are refined
    coefficients    B, the size of an atom's vector c
    factors         F, the size in which atom and distance are multiplied
    output          the hidden layer of the atoms' terms
    gaussians       G, evenly spaced from 0 to ``farthest``, in which a distance is expanded
    farthest        centre of the last of them, angstrom
    width           of each of them, angstrom
    largest_number  the heaviest element that can be embedded
    """

    passes: Size = 3
    coefficients: Size = 30
    factors: Size = 60
    output: Size = 15
    gaussians: Annotated[int, msgspec.Meta(ge=2, le=65536)] = 100
    farthest: Length = 20.0
    width: Length = 0.2
    largest_number: AtomicNumber = 20


class DTNN(Network):
    """Forward: batch -> (M, T) in the target's unit."""

    Settings: ClassVar[type[msgspec.Struct]] = DTNNSettings
    inputs = frozenset({"pairs"})
    additive = True

    def __init__(self, settings: DTNNSettings, scaling: Scaling) -> None:
        super().__init__(settings, scaling)
        B, F = settings.coefficients, settings.factors
        self.passes = settings.passes
        self.embedding = Embedding(settings.largest_number + 1, B)
        self.expansion = GaussianExpansion(
            0.0, settings.farthest, settings.gaussians, settings.width
        )
        self.distance_input = Input("pair")
        self.distance_factors = Linear(settings.gaussians, F)  # W_df d_ij + b_df
        self.atom_factors = Linear(B, F)  # W_cf c_j + b_cf
        self.interaction = Linear(F, B, bias=False)  # W_fc
        self.gather = Gather()
        self.multiply = Product()
        self.tanh = Tanh()
        self.over_neighbours = ScatterSum()
        self.refine = Sum()
        self.hidden = Linear(B, settings.output)
        self.hidden_tanh = Tanh()
        self.output = Linear(settings.output, scaling.targets)
        self.readout = AtomicReadout(scaling)
        nn.init.normal_(self.embedding.weight, std=B**-0.25)
        for layer in (self.distance_factors, self.atom_factors, self.hidden):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.interaction.weight)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def representation(self, batch: Batch) -> Tensor:
        """The atoms' refined vectors c, (A, B); InputError for an element too heavy.

        Returns
        -------
        (A, B) Tensor
        """
        check_numbers(batch.numbers, self.embedding.num_embeddings - 1)
        # d_ij = d_ji: each pair once gives the factors of both directions
        once = batch.distances[: batch.distances.shape[0] // 2]
        distance_factors = self.distance_factors(self.distance_input(self.expansion(once)))
        c: Tensor = self.embedding(batch.numbers)
        for _ in range(self.passes):
            c = self.refine(c, self._interactions(self.atom_factors(c), distance_factors, batch))
        return c

    def _interactions(self, atom_factors: Tensor, distance_factors: Tensor, batch: Batch) -> Tensor:
        """sum_j v_ij: (A, F), (E / 2, F) -> (A, B)."""
        i, j = batch.pairs
        if not watched(
            (self.gather, Gather),
            (self.multiply, Product),
            (self.interaction, Linear),
            (self.tanh, Tanh),
            (self.over_neighbours, ScatterSum),
        ):
            half = len(distance_factors)
            total: Tensor = DTNNInteractions.apply(
                atom_factors, distance_factors, self.interaction.weight, i[:half], j[:half]
            )
            return total
        factors = self.multiply(self.gather(atom_factors, j), distance_factors.repeat(2, 1))
        v = self.tanh(self.interaction(factors))
        summed: Tensor = self.over_neighbours(v, i, batch.atoms)
        return summed

    def _outputs(self, batch: Batch) -> Tensor:
        hidden = self.hidden_tanh(self.hidden(self.representation(batch)))
        outputs: Tensor = self.output(hidden)
        return outputs

    def atomic_terms(self, batch: Batch) -> Tensor:
        """What each atom adds to the prediction, (A, T).

        Returns
        -------
        (A, T) Tensor
            In the targets' units.
        """
        return self.readout.terms(self._outputs(batch), batch)

    def forward(self, batch: Batch) -> Tensor:
        prediction: Tensor = self.readout(self._outputs(batch), batch)
        return prediction
