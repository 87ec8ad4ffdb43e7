"""PaiNN, the polarizable atom interaction network: scalars and vectors that turn with the molecule.

K. T. Schuett, O. T. Unke, M. Gastegger, ICML 2021, arXiv:2102.03150.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
import torch
from torch import Tensor, nn

from hpcml.models.batch import Batch
from hpcml.models.elements import check_numbers
from hpcml.models.expansion import SincExpansion, cosine_cutoff
from hpcml.models.fused import PaiNNMessages
from hpcml.models.hyperparameters import AtomicNumber, Length, Size
from hpcml.models.layers import (
    Concatenate,
    Dot,
    Embedding,
    Gather,
    Input,
    Linear,
    Norm,
    Product,
    ScatterSum,
    SiLU,
    Sum,
    watched,
)
from hpcml.models.network import Network
from hpcml.models.readout import AtomicReadout, Scaling


class PaiNNSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the network; the defaults are the published ones.

    features        F of the scalars, and of the vectors
    interactions    messages and updates
    radial          waves sin(n pi d / cutoff) / d in which a distance is expanded
    cutoff          angstrom
    largest_number  the heaviest element that can be embedded
    """

    features: Size = 128
    interactions: Size = 3
    radial: Size = 20
    cutoff: Length = 5.0
    largest_number: AtomicNumber = 100


class NearPairs:
    """Pairs within the cut-off, each once: H of them."""

    def __init__(self, batch: Batch, cutoff: float) -> None:
        half = batch.distances.shape[0] // 2
        self.near = (batch.distances[:half] < cutoff).nonzero().squeeze(1)
        self.i, self.j = batch.pairs[:, :half].index_select(1, self.near)
        self.distances = batch.distances.index_select(0, self.near)
        x = batch.positions
        separation = x.index_select(0, self.j) - x.index_select(0, self.i)
        self.directions = separation / self.distances[:, None]  # from i to j, unit length


class PaiNNMessage(nn.Module):
    """ds_i = sum_j phi_s(s_j) W_s;  dv_i = sum_j v_j phi_vv(s_j) W_vv + r_ij phi_vs(s_j) W_vs.

    Equations 7 and 8: (A, F), (A, 3, F) -> (A, F), (A, 3, F).  While all vectors are zero the term
    with v_j is not computed.
    """

    def __init__(self, features: int, *, has_vectors: bool) -> None:
        super().__init__()
        self.phi = nn.Sequential(
            Linear(features, features), SiLU(), Linear(features, (2 + has_vectors) * features)
        )
        self.gather = Gather()
        self.filter = Product()
        self.point = Product()
        self.scale = Product()
        self.add = Sum()
        self.over_neighbours = ScatterSum()

    def forward(
        self, s: Tensor, v: Tensor | None, filters: Tensor, near: NearPairs
    ) -> tuple[Tensor, Tensor]:
        phi = self.phi(s)
        if near.directions.requires_grad or watched(
            (self.gather, Gather),
            (self.filter, Product),
            (self.point, Product),
            (self.scale, Product),
            (self.add, Sum),
            (self.over_neighbours, ScatterSum),
        ):
            return self._step_by_step(phi, v, filters, near)
        ds, dv = PaiNNMessages.apply(phi, v, filters, near.directions, near.i, near.j)
        return ds, dv

    def _step_by_step(
        self, phi: Tensor, v: Tensor | None, filters: Tensor, near: NearPairs
    ) -> tuple[Tensor, Tensor]:
        """The same, layer by layer, all messages at once: (2 H, 3, F)."""
        atoms, features = phi.shape[0], filters.shape[1] // (2 if v is None else 3)
        i, j = torch.cat([near.i, near.j]), torch.cat([near.j, near.i])
        directions = torch.cat([near.directions, -near.directions])
        messages = self.filter(self.gather(phi, j), filters.repeat(2, 1))
        ds = self.over_neighbours(messages[:, :features], i, atoms)
        vs = messages[:, None, features : 2 * features].expand(-1, 3, -1)
        dv = self.point(vs, directions[:, :, None])
        if v is not None:
            dv = self.add(dv, self.scale(self.gather(v, j), messages[:, None, 2 * features :]))
        return ds, self.over_neighbours(dv, i, atoms)


class _Update(nn.Module):
    """ds = a_ss + a_sv <U v, V v>;  dv = a_vv U v, with a = a(s, |V v|); equations 9 and 10."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.U = Linear(features, features, bias=False)
        self.V = Linear(features, features, bias=False)
        self.norm = Norm()
        self.concatenate = Concatenate()
        self.a = nn.Sequential(
            Linear(2 * features, features), SiLU(), Linear(features, 3 * features)
        )
        self.dot = Dot()
        self.scale_dot = Product()
        self.scale_vector = Product()
        self.add = Sum()

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        Uv, Vv = self.U(v), self.V(v)
        a_vv, a_sv, a_ss = self.a(self.concatenate(s, self.norm(Vv))).chunk(3, dim=1)
        ds = self.add(a_ss, self.scale_dot(self.dot(Uv, Vv), a_sv))
        return ds, self.scale_vector(Uv, a_vv[:, None, :])


class PaiNN(Network):
    """Forward: batch -> (M, T) in the target's unit."""

    Settings: ClassVar[type[msgspec.Struct]] = PaiNNSettings
    inputs = frozenset({"pairs"})
    additive = True

    def __init__(self, settings: PaiNNSettings, scaling: Scaling) -> None:
        super().__init__(settings, scaling)
        F = settings.features
        self.cutoff = settings.cutoff
        self.embedding = Embedding(settings.largest_number + 1, F)
        self.expansion = SincExpansion(settings.cutoff, settings.radial)
        self.distance_input = Input("pair")
        first = [number == 0 for number in range(settings.interactions)]
        self.filters = nn.ModuleList(Linear(settings.radial, (3 - f) * F) for f in first)
        self.within_cutoff = Gather()
        self.cut = Product()
        self.messages = nn.ModuleList(PaiNNMessage(F, has_vectors=not f) for f in first)
        self.updates = nn.ModuleList(_Update(F) for _ in first)
        self.add = Sum()
        self.hidden = Linear(F, F // 2)
        self.activation = SiLU()
        self.output = Linear(F // 2, scaling.targets)
        self.readout = AtomicReadout(scaling)

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scalars (A, F) and vectors (A, 3, F) of the atoms; InputError for an element too heavy.

        The vectors turn with the molecule.

        Returns
        -------
        (A, F) Tensor, (A, 3, F) Tensor
            Scalars and vectors.
        """
        check_numbers(batch.numbers, self.embedding.num_embeddings - 1)
        near = NearPairs(batch, self.cutoff)
        once = batch.distances[: batch.distances.shape[0] // 2]
        waves = self.within_cutoff(self.distance_input(self.expansion(once)), near.near)
        cut = cosine_cutoff(near.distances, self.cutoff)[:, None]
        s: Tensor = self.embedding(batch.numbers)
        v: Tensor | None = None
        for make_filter, message, update in zip(
            self.filters, self.messages, self.updates, strict=True
        ):
            filters = self.cut(make_filter(waves), cut)
            ds, dv = message(s, v, filters, near)
            s, v = self.add(s, ds), dv if v is None else self.add(v, dv)
            ds, dv = update(s, v)
            s, v = self.add(s, ds), self.add(v, dv)
        assert v is not None
        return s, v

    def representation(self, batch: Batch) -> Tensor:
        """The atoms' scalars, (A, F).

        Returns
        -------
        (A, F) Tensor
        """
        return self.features(batch)[0]

    def _outputs(self, batch: Batch) -> Tensor:
        outputs: Tensor = self.output(self.activation(self.hidden(self.representation(batch))))
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
