"""Training for a chip: what needs torch (the extra `snntorch`)."""

from neurodeploy.errors import TargetError

try:
    import snntorch as _snntorch  # noqa: F401
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise TargetError(
        f"neurodeploy.torch needs {error.name}", hint="pip install 'neurodeploy-snn[snntorch]'"
    ) from error

from neurodeploy.torch.chip_module import ChipModule

__all__ = ["ChipModule"]
