"""ANI: a network for each element, from the atom's environment to its energy.

J. S. Smith, O. Isayev, A. E. Roitberg, Chem. Sci. 8, 3192 (2017) (ANI-1); J. S. Smith et al.,
Nat. Commun. 10, 2903 (2019) (ANI-1ccx).  The defaults are ANI-1ccx's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Annotated, ClassVar, Literal

import msgspec
import torch
from torch import Tensor, nn

from hpcml.errors import SettingsError
from hpcml.models.aev import AEV, AEVConstants
from hpcml.models.batch import Batch
from hpcml.models.elements import element_index
from hpcml.models.hyperparameters import Elements, Size, Sizes
from hpcml.models.layers import CELU, Gather, Gaussian, Input, Linear, Product, Sum
from hpcml.models.network import Network
from hpcml.models.readout import AtomicReadout, Scaling
from hpcml.molecules.molecule import symbol


class ANISettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the network; the defaults are those of ANI-1ccx, one member of its eight.

    elements     atomic numbers, in the order of the environment's columns
    hidden       hidden layers of each element's network, all with the same last size
    activation   "celu" (alpha 0.1) as in ANI-1x and ANI-1ccx, "gaussian" as in ANI-1
    members      networks of an ensemble; the prediction is their mean
    max_norm     longest vector of weights into a hidden unit, kept to in training; 0 is no limit,
                 ANI-1 took 3
    aev          cut-offs and grids of the atomic environment vectors
    """

    elements: Elements = (1, 6, 7, 8)
    hidden: tuple[Sizes, ...] = (
        (160, 128, 96),
        (144, 112, 96),
        (128, 112, 96),
        (128, 112, 96),
    )
    activation: Literal["celu", "gaussian"] = "celu"
    members: Size = 1
    max_norm: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    aev: AEVConstants = AEVConstants()


class _ElementNetworks(nn.Module):
    """One member: atoms sorted by element through the network of their element."""

    def __init__(self, inputs: int, settings: ANISettings, targets: int) -> None:
        super().__init__()
        hidden_networks, outputs = [], []
        for sizes in settings.hidden:
            layers: list[nn.Module] = []
            for width, size in zip((inputs, *sizes), sizes, strict=False):
                activation = CELU(0.1) if settings.activation == "celu" else Gaussian()
                layers += [Linear(width, size), activation]
            hidden_networks.append(nn.Sequential(*layers))
            outputs.append(Linear(sizes[-1], targets))
        self.hidden = nn.ModuleList(hidden_networks)
        self.outputs = nn.ModuleList(outputs)

    def affine_layers(self) -> list[list[nn.Linear]]:
        """The affine layers of each element's network, from the environment to the output."""
        return [
            [
                layer
                for layer in nn.Sequential(hidden, output).modules()
                if isinstance(layer, Linear)
            ]
            for hidden, output in zip(self.hidden, self.outputs, strict=True)
        ]

    def hidden_values(self, groups: list[Tensor]) -> list[Tensor]:
        """The last hidden layer, element by element: (A_S, F) -> (A_S, last)."""
        return [network(group) for network, group in zip(self.hidden, groups, strict=True)]

    def forward(self, groups: list[Tensor]) -> Tensor:
        values = zip(self.outputs, self.hidden_values(groups), strict=True)
        return torch.cat([output(hidden) for output, hidden in values])


class ANI(Network):
    """Forward: batch -> (M, T) in the target's unit."""

    Settings: ClassVar[type[msgspec.Struct]] = ANISettings
    inputs = frozenset({"pairs"})
    additive = True
    elements: Tensor

    def __init__(self, settings: ANISettings, scaling: Scaling) -> None:
        super().__init__(settings, scaling)
        if len(settings.hidden) != len(settings.elements):
            raise SettingsError(
                f"ani: {len(settings.elements)} elements need as many lists of hidden layers, "
                f"got {len(settings.hidden)}"
            )
        if len({sizes[-1] for sizes in settings.hidden}) != 1:
            raise SettingsError("ani: the last hidden layer must have one size for all elements")
        self.register_buffer("elements", torch.tensor(settings.elements), persistent=False)
        self.aev = AEV(settings.aev, len(settings.elements))
        self.aev_input = Input("atom")
        self.by_element = Gather()
        self.members: Sequence[_ElementNetworks] = nn.ModuleList(  # type: ignore[assignment]
            _ElementNetworks(self.aev.size, settings, scaling.targets)
            for _ in range(settings.members)
        )
        self.max_norm = settings.max_norm
        self.as_before = Gather()
        self.over_members = Sum()
        self.mean = Product()
        self.readout = AtomicReadout(scaling)

    def column_names(self) -> dict[str, list[str]]:
        """Blocks of the environment: "radial H" are all terms of hydrogen neighbours,
        "angular H-C" those of pairs of a hydrogen and a carbon."""
        elements = [symbol(z) for z in self.elements.tolist()]
        radial = [f"radial {element}" for element in elements]
        pairs = [f"angular {a}-{b}" for a, b in combinations_with_replacement(elements, 2)]
        times = [self.aev.radial_terms] * len(radial) + [self.aev.angular_terms] * len(pairs)
        blocks = zip([*radial, *pairs], times, strict=True)
        return {"aev_input": [name for name, terms in blocks for _ in range(terms)]}

    def first_layers(self) -> dict[str, list[str]]:
        """Those of each member's network of each element."""
        return {
            "aev_input": [
                f"members.{member}.hidden.{element}.0"
                for member in range(len(self.members))
                for element in range(len(self.elements))
            ]
        }

    def constrain(self) -> None:
        """Shorten the weights into each hidden unit to max_norm; to be called after each step."""
        if not self.max_norm:
            return
        with torch.no_grad():
            for member in self.members:
                for *hidden, _ in member.affine_layers():
                    for layer in hidden:
                        layer.weight.copy_(torch.renorm(layer.weight, 2, 0, self.max_norm))

    def _groups(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Environments by element, and where each atom's row went.

        Raises InputError for an element that has no network.
        """
        element = element_index(batch.numbers, self.elements)
        environments = self.aev_input(self.aev(batch, element))
        order = element.argsort(stable=True)
        counts = torch.bincount(element, minlength=len(self.elements)).tolist()
        groups = list(self.by_element(environments, order).split(counts))
        return groups, order.argsort()

    def _member_outputs(self, batch: Batch) -> list[Tensor]:
        groups, row = self._groups(batch)
        return [self.as_before(member(groups), row) for member in self.members]

    def _outputs(self, batch: Batch) -> Tensor:
        outputs = self._member_outputs(batch)
        total = self.over_members(*outputs)
        average: Tensor = self.mean(total, total.new_tensor(1.0 / len(outputs)))
        return average

    def representation(self, batch: Batch) -> Tensor:
        """The last hidden layers of all members side by side, (A, members * last).

        Returns
        -------
        (A, members * last) Tensor
        """
        groups, row = self._groups(batch)
        values = [torch.cat(member.hidden_values(groups)) for member in self.members]
        return torch.cat(values, dim=1).index_select(0, row)

    def member_predictions(self, batch: Batch) -> Tensor:
        """What each member predicts by itself, (members, M, T).

        Returns
        -------
        (members, M, T) Tensor
            In the targets' units.
        """
        return torch.stack([self.readout(one, batch) for one in self._member_outputs(batch)])

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
