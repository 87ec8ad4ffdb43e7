"""What the response of a ground state is made of: its kernel, and whether it is a minimum.

An SCF that is no minimum can be followed: it begins anew a step downhill along the lowest mode of
its orbital Hessian, until there is none below zero (Seeger and Pople, J. Chem. Phys. 66, 3045
(1977)).  A closed shell that is left so is unrestricted after it.
"""

from __future__ import annotations

from hpcml.response.engine import GroundState
from hpcml.response.fock import FockResponse, TwoElectron
from hpcml.response.kernels import Kernel
from hpcml.response.level import Grid
from hpcml.response.stability import Stability, downhill, lowest_mode, restricted_product
from hpcml.response.team import Communicator, on_root

ROUGH_GRID: Grid = (20, 50)
"""Grid of the kernel that preconditions the one on the level's own grid."""

_MOST_STEPS = 4  # downhill
_LOWER = 1e-7  # hartree: a step that gains less has led back
_RIGHT_SIDES = 5  # as many products as a Hessian's lowest mode wants


def kernel_of(reference: GroundState, grid: Grid) -> Kernel | None:
    """The exchange-correlation response on a grid; None for Hartree-Fock."""
    blocks = reference.blocks(grid)
    if blocks is None:
        return None
    closed_shell = len(reference.channels) == 1
    return Kernel(
        blocks,
        reference.functional(closed_shell),
        [channel.occupied for channel in reference.channels],
        reference.third_derivatives(closed_shell),
    )


def stability_of(reference: GroundState, two_electron: TwoElectron) -> Stability:
    """Whether a ground state is a minimum; the kernel on the rough grid will do."""
    channels = reference.channels
    if len(channels) > 1:
        rough = FockResponse(channels, two_electron, kernel_of(reference, ROUGH_GRID))
        value, mode = lowest_mode(rough.gaps, lambda trials: rough.plus_product(trials)[0])
        return Stability(value, restricted=False, mode=mode)
    (channel,) = channels
    kernel = None
    blocks = reference.blocks(ROUGH_GRID)
    if blocks is not None:
        kernel = Kernel(blocks, reference.functional(False), [channel.occupied] * 2)
    product = restricted_product(channel, two_electron, kernel)
    value, mode = lowest_mode(channel.gaps.ravel(), product)
    return Stability(value, restricted=True, mode=mode)


def followed(reference: GroundState, communicator: Communicator | None = None) -> GroundState:
    """The minimum below a ground state, or the lowest state that was found on the way to it.

    Its provenance tells of it: ``instability_followed`` has the energies, and a warning.

    Parameters
    ----------
    reference : GroundState
    communicator : Communicator, optional
        Every rank makes this call and gets the result.

    Raises
    ------
    ConvergenceError
        If an SCF on the way does not converge.
    """
    energies = [reference.energy]
    while len(energies) <= _MOST_STEPS:
        state = reference

        def looked_at(state: GroundState = state) -> Stability:
            return stability_of(state, state.two_electron(_RIGHT_SIDES))

        stability = on_root(communicator, looked_at)
        if not stability.unstable:
            break
        found = [
            state.again(start=downhill(stability, state.channels, sign))
            # a closed shell's two ways are the same with its spins exchanged
            for sign in ((1.0,) if stability.restricted else (1.0, -1.0))
        ]
        reference = min([state, *found], key=lambda each: each.energy)
        if reference.energy > state.energy - _LOWER:
            reference = state
            break
        energies.append(reference.energy)
    if len(energies) > 1:
        spin = reference.provenance.get("spin_squared", 0.0)
        reference.provenance["instability_followed"] = energies
        reference.provenance["warnings"] = [
            *reference.provenance["warnings"],
            f"an instability of the SCF was followed, {energies[0] - energies[-1]:.6f} hartree "
            f"down to {reference.provenance['reference']} with <S^2> = {spin:.4f}",
        ]
    return reference
