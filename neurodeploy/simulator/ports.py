"""What of a program's populations must fit the neurons that a machine made for them."""

from __future__ import annotations

from collections.abc import Iterable

from neurodeploy.errors import InputError
from neurodeploy.program import POTENTIAL, Neurons, Program, Synapses
from neurodeploy.target import Cells


def check_ports(incoming: Iterable[Synapses], population: Neurons, cells: Cells) -> None:
    """Raises `InputError` for synapses to a port that the neurons do not have."""
    for synapses in incoming:
        if synapses.port not in cells.ports:
            raise InputError(
                f"{population.name} has no port {synapses.port!r}",
                node=synapses.name,
                hint=f"Its neurons ({population.model}) have: {', '.join(cells.ports)}.",
            )


def reads(population: Neurons, program: Program, cells: Cells) -> bool:
    """Whether an output of the program is the membrane potential of `population`.

    Raises `InputError` where it has none.
    """
    if population.readout != "membrane" or population.name not in program.outputs:
        return False
    if POTENTIAL not in cells.recorded:
        raise InputError("its neurons have no membrane potential to read", node=population.name)
    return True
