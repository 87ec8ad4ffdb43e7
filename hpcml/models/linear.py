"""Linear regression as one neuron: the first model, whose answer and reasons are known exactly.

y = sum_i (w x_i + b) over the atoms of a molecule (extensive), or the mean (intensive): by
linearity one neuron over the molecule's summed, or mean, feature vector.  Trained to the least
squared error it equals linear least squares.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec
import torch
from torch import Tensor, nn

from hpcml.models import layers
from hpcml.models.batch import Batch
from hpcml.models.elements import element_index
from hpcml.models.hyperparameters import Elements
from hpcml.models.network import Network
from hpcml.models.readout import AtomicReadout, Scaling
from hpcml.molecules.features import ATOM_FEATURES
from hpcml.molecules.molecule import symbol


class LinearSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the neuron sees.

    features    "elements": atom counts; "atom_features": sums of the atoms' graph features
    elements    atomic numbers that are counted
    """

    features: Literal["elements", "atom_features"] = "elements"
    elements: Elements = (1, 6, 7, 8, 9)


class LinearRegression(Network):
    """Forward: batch -> (M, T) in the target's unit."""

    Settings: ClassVar[type[msgspec.Struct]] = LinearSettings
    inputs = frozenset()
    additive = True
    learns_vectors = False
    elements: Tensor

    def __init__(self, settings: LinearSettings, scaling: Scaling) -> None:
        super().__init__(settings, scaling)
        counted = settings.features == "elements"
        if not counted:
            self.inputs = frozenset({"atom_features"})
        self.register_buffer("elements", torch.tensor(settings.elements), persistent=False)
        self.input = layers.Input("atom")
        width = len(settings.elements) if counted else len(ATOM_FEATURES)
        self.neuron = layers.Linear(width, scaling.targets)
        self.readout = AtomicReadout(scaling)

    def column_names(self) -> dict[str, list[str]]:
        """The elements, or the features of atoms."""
        if self.inputs:
            return {"input": list(ATOM_FEATURES)}
        return {"input": [symbol(z) for z in self.elements.tolist()]}

    def first_layers(self) -> dict[str, list[str]]:
        """The neuron."""
        return {"input": ["neuron"]}

    def representation(self, batch: Batch) -> Tensor:
        """The atoms' features, (A, F): one-hot elements or graph features.

        Raises InputError for an element that the settings do not count.

        Returns
        -------
        (A, F) Tensor
        """
        if self.inputs:
            features: Tensor = self.input(batch.atom_features)
            return features
        one_hot = nn.functional.one_hot(
            element_index(batch.numbers, self.elements), len(self.elements)
        )
        counts: Tensor = self.input(one_hot.to(self.neuron.weight.dtype))
        return counts

    def atomic_terms(self, batch: Batch) -> Tensor:
        """What each atom adds to the prediction, (A, T).

        Returns
        -------
        (A, T) Tensor
            In the targets' units.
        """
        return self.readout.terms(self.neuron(self.representation(batch)), batch)

    def forward(self, batch: Batch) -> Tensor:
        prediction: Tensor = self.readout(self.neuron(self.representation(batch)), batch)
        return prediction
