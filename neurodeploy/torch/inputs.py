"""Inputs of a `ChipModule`, checked."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from neurodeploy.arrivals import ANY_MESSAGE
from neurodeploy.errors import InputError
from neurodeploy.program import Program


def checked(program: Program, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inputs by name, (steps, samples, *shape).

    Parameters
    ----------
    x: (samples, steps, *shape) by name, or of the only input: 0 and 1, or whole numbers where the
        input is graded.

    Raises
    ------
    InputError
        A missing or unknown input, a wrong shape, other values.
    """
    shapes = program.input_shapes
    if not isinstance(x, Mapping):
        if len(shapes) != 1:
            raise InputError(
                f"the program has {len(shapes)} inputs ({', '.join(shapes)})",
                hint="Give a mapping from input name to tensor.",
            )
        x = {next(iter(shapes)): x}
    if set(x) != set(shapes):
        raise InputError(
            f"inputs are named {', '.join(map(str, x))}, the program's {', '.join(shapes)}"
        )
    found = {name: _checked(program, name, x[name]) for name in shapes}
    if len({values.shape[:2] for values in found.values()}) != 1:
        raise InputError("the inputs differ in their number of samples or steps")
    return found


def _checked(program: Program, name: str, values: Tensor) -> Tensor:
    shape = program.input_shapes[name]
    expected = "(samples, steps, " + ", ".join(map(str, shape)) + ")"
    if values.dim() != len(shape) + 2 or tuple(values.shape[2:]) != shape:
        raise InputError(f"shape {tuple(values.shape)}, expected {expected}", node=name)
    if 0 in values.shape:
        raise InputError(f"empty tensor of shape {tuple(values.shape)}", node=name)
    if name in program.graded:
        grid = program.grids.get(name)
        low, high = ANY_MESSAGE if grid is None else (grid.low, grid.high)
        wrong = (values != values.round()) | (values < low) | (values > high)
        what = f"whole numbers in {low}..{high}"
    else:
        wrong, what = (values != 0) & (values != 1), "0 or 1"
    count = int(wrong.sum())
    if count:
        raise InputError(f"{count} of {values.numel()} values are not {what}", node=name)
    return values.transpose(0, 1)
