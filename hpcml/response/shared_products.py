"""The products of the response equations, computed by all ranks of a molecule's group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hpcml.response.fock import FockResponse
from hpcml.response.team import Product

Array = NDArray[np.float64]


class SharedProducts:
    """The products of the response equations as the leading rank asks for them.

    ``plus`` and ``rough_plus`` (with the kernel on the rough grid) are a ``PlusProduct``, ``minus``
    is a ``MinusProduct`` of ``linear_response``.
    """

    def __init__(self, products: Mapping[str, Product]) -> None:
        self._products = products

    @staticmethod
    def of(fock: FockResponse, rough: FockResponse) -> dict[str, Product]:
        """What every rank can be asked for (see ``team.lead``)."""
        return {
            "plus": fock.plus_product,
            "minus": lambda trials: (fock.minus_product(trials),),
            "rough plus": rough.plus_product,
            "kernel blocks": lambda plus: (fock.kernel_blocks(plus),),
        }

    def plus(self, trials: Array) -> tuple[Array, Array]:
        """Products of A + B, of every rank's trials together.

        Parameters
        ----------
        trials : (k, N) array

        Returns
        -------
        images, minus_images : (k, N) arrays
        """
        images, minus_images = self._products["plus"](trials)
        return images, minus_images

    def minus(self, trials: Array) -> Array:
        """Products of A - B, of every rank's trials together.

        Parameters
        ----------
        trials : (k, N) array

        Returns
        -------
        (k, N) array
        """
        return self._products["minus"](trials)[0]

    def rough_plus(self, trials: Array) -> tuple[Array, Array]:
        """The products of ``plus`` in a rougher and cheaper form.

        Parameters
        ----------
        trials : (k, N) array

        Returns
        -------
        images, minus_images : (k, N) arrays
        """
        images, minus_images = self._products["rough plus"](trials)
        return images, minus_images

    def kernel_blocks(self, plus: Array) -> Array:
        """``fock.kernel_blocks`` of every rank's P together.

        Parameters
        ----------
        plus : (k, N) array

        Returns
        -------
        (k, M) array
        """
        return self._products["kernel blocks"](plus)[0]
