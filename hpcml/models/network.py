"""What a network is to the rest of hpcml, and how to add one.

A network of one's own is a class derived from ``Network``: the docstring below says what it
holds.  Wire it from the layers of ``hpcml.models.layers``, and relevance follows through it; a
layer type of one's own is made known with ``hpcml.relevance.declare``.

It gets a name, by which ``[train] model`` finds it, in the metadata of the package it comes in

    [project.entry-points."hpcml.networks"]
    mine = "my_package.my_network:MyNetwork"

or, for the running process alone, by ``hpcml.models.register("mine", MyNetwork)``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec
import torch
from torch import Tensor, nn

from hpcml.errors import InputError
from hpcml.models.batch import Batch
from hpcml.models.readout import Scaling


class Network(nn.Module, ABC):
    """From a batch of molecules to their properties.

    Settings    struct of the hyperparameters, all with defaults; unknown ones are refused
    inputs      which of ``hpcml.models.batch.INPUTS`` a molecule must be prepared for
    additive    whether the prediction is a sum (or mean) of terms of single atoms
    learns_vectors   whether ``representation`` is anything that training made; False where the
                     atoms' vectors are the network's own inputs

    It is built as ``MyNetwork(settings, scaling)``, where scaling says how many targets there
    are, and ends in one of the readouts of ``hpcml.models.readout``, which bring the outputs
    to the target's unit.
    """

    Settings: ClassVar[type[msgspec.Struct]]
    inputs: frozenset[str]
    additive: bool = False
    learns_vectors: ClassVar[bool] = True

    def __init__(self, settings: Any, scaling: Scaling) -> None:
        """The settings are an instance of the class's own ``Settings``."""
        super().__init__()

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Predict the properties of M molecules, (M, T), in the targets' units.

        Raises InputError for a molecule that the network cannot take.

        Returns
        -------
        (M, T) Tensor
            In the targets' units.
        """

    @abstractmethod
    def representation(self, batch: Batch) -> Tensor:
        """Give the last hidden features of each of A atoms, (A, F), in the batch's order.

        Returns
        -------
        (A, F) Tensor
        """

    def molecule_representation(self, atoms: Tensor, batch: Batch) -> Tensor:
        """Give the last hidden features of each of M molecules, (M, G).

        Of networks that have none between the atoms and the prediction, the mean of the atoms'.

        Parameters
        ----------
        atoms : (A, F) Tensor
            What ``representation`` gives for this batch.

        Returns
        -------
        (M, G) Tensor
        """
        total = atoms.new_zeros(batch.size, atoms.shape[1]).index_add(0, batch.molecule, atoms)
        count = torch.bincount(batch.molecule, minlength=batch.size).to(atoms.dtype)
        mean: Tensor = total / count[:, None]
        return mean

    def atomic_terms(self, batch: Batch) -> Tensor:
        """Give what each of A atoms adds to the prediction, (A, T), in the targets' units.

        Raises InputError where the network is no sum over atoms.

        Returns
        -------
        (A, T) Tensor
            In the targets' units.
        """
        raise InputError(f"{type(self).__name__} has no atomic terms: it is no sum over atoms")

    def column_names(self) -> dict[str, list[str]]:
        """Say what each column of each input layer is, by the layer's name.

        Columns of one name belong together.  Learned vectors of elements have no names, and
        their layers do not stand here.
        """
        return {}

    def first_layers(self) -> dict[str, list[str]]:
        """Name the linear layers that read the columns of each named input, by the input's name.

        They take the columns as they are, or summed over atoms, so that column k of their
        weights is what the network makes of column k of ``column_names``.
        """
        return {}

    def constrain(self) -> None:
        """Bring the weights back to where they may lie; called after each step of training."""
