"""What the snnTorch front end refuses: one error with the module, the reason and a way out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
snn = pytest.importorskip("snntorch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from neurodeploy.errors import ModelError  # noqa: E402
from neurodeploy.frontends.snntorch import from_snntorch  # noqa: E402

BATCH = 3
VECTOR, IMAGE, SERIES = (BATCH, 6), (BATCH, 2, 4, 4), (BATCH, 5, 6)


def hidden(beta: Any = 0.9, **options: Any) -> Any:
    return snn.Leaky(beta, init_hidden=True, **options)


def after_linear(*parts: Any) -> Any:
    return nn.Sequential(nn.Linear(6, 4), *parts)


def neuron(beta: Any = 0.9, **options: Any) -> Any:
    return after_linear(hidden(beta, **options))


def changed(name: str, value: Any, **options: Any) -> Any:
    part = hidden(**options)
    setattr(part, name, value)
    return after_linear(part)


def poisoned(parameter: str, value: float) -> Any:
    net = neuron()
    net.state_dict()[parameter].view(-1)[:1] = value
    return net


def shallow_copy() -> Any:
    original = hidden()
    original(torch.rand(BATCH, 4))
    return after_linear(copy.copy(original))


def image(part: Any) -> Any:
    return nn.Sequential(part, hidden())


class MyLinear(nn.Linear):
    pass


class Custom(nn.Module):
    """`fc`, explicit `a`, hidden `lif` and `lif2`, and a forward given as a function."""

    def __init__(self, function: Any, **parts: Any) -> None:
        super().__init__()
        self.function = function
        self.fc, self.a, self.b = nn.Linear(6, 6), snn.Leaky(0.9), snn.Leaky(0.8)
        self.lif, self.lif2 = hidden(), hidden(0.8)
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def custom(function: Any, **parts: Any) -> Callable[[], Any]:
    return lambda: Custom(function, **parts)


# Forwards that need more than an expression


def recurrent(m: Any, x: Any) -> Any:
    out = [torch.zeros(BATCH, 6)]
    for _ in range(4):
        out.append(m.lif(m.fc(x) + m.rec(out[-1])))
    return out


def recurrent_attribute(m: Any, x: Any) -> Any:
    last = getattr(m, "last", None)
    m.last = m.lif(m.fc(x) if last is None else m.fc(x) + last)
    return m.last


def one_step_early(m: Any, x: Any) -> Any:
    first = [m.lif(m.fc(x)) for _ in range(4)]
    return [m.lif2(first[min(k + 1, 3)]) for k in range(4)]


def backwards(m: Any, x: Any) -> Any:
    return [m.lif(entry) for entry in reversed(x.unbind(1))]


def uneven(m: Any, x: Any) -> Any:
    out = [m.lif2(m.lif(m.fc(x))) for _ in range(3)]
    m.lif(m.fc(x))
    return out


def restarting(m: Any, x: Any) -> Any:
    m.lif.reset_mem()
    return m.lif(m.fc(x))


def restarting_argument(m: Any, x: Any) -> Any:
    return m.a(m.fc(x), torch.zeros(BATCH, 6))[0]


def written_into(m: Any, x: Any) -> Any:
    current = m.fc(x)
    current[0] = 0
    return m.lif(current)


def counted(m: Any, x: Any) -> Any:
    count = torch.zeros(BATCH, 6)
    for _ in range(3):
        count = count + m.lif(x)
    return count


def over_steps(m: Any, x: Any) -> Any:
    total = m.lif(x)
    for _ in range(2):
        total = total + m.lif(x)
    return m.fc(total)


def clipping(m: Any, x: Any) -> Any:
    m.fc.weight.data.clamp_(-0.1, 0.1)
    return m.lif(m.fc(x))


def adapting(m: Any, x: Any) -> Any:
    m.lif.threshold = m.lif.threshold * 1.1
    return m.lif(m.fc(x))


def weight_norm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 4)), hidden())


class UnusedArgument(Custom):
    def forward(self, x: Any, target: Any) -> Any:
        return self.lif(self.fc(x))


class OneStateForTwo(Custom):
    def forward(self, x: Any, mem: Any) -> Any:
        return self.b(self.a(self.fc(x), mem)[0], mem)


MODULES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "relu": (lambda: after_linear(hidden(), nn.ReLU()), "2", "ReLU is not supported"),
    "subclass": (lambda: nn.Sequential(MyLinear(6, 4), hidden()), "0", "a subclass of Linear"),
    "no neuron": (lambda: after_linear(), "Sequential", "calls no snnTorch neuron"),
    "tuple": (lambda: after_linear(snn.Leaky(0.9), nn.Linear(4, 2)), "2", "gets a tuple"),
    "norm first": (lambda: nn.Sequential(nn.BatchNorm1d(6), hidden()), "0", "does not follow"),
    "norm last": (lambda: after_linear(hidden(), nn.BatchNorm1d(4)), "2", "does not follow"),
    "norm of batches": (
        lambda: after_linear(nn.BatchNorm1d(4, track_running_stats=False), hidden()),
        "1",
        "track_running_stats",
    ),
    "flatten all": (lambda: after_linear(nn.Flatten(0), hidden()), "1", "nn.Flatten turns"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(4), hidden()), "0.weight", "not initialised"),
    "mixture": (
        lambda: nn.Sequential(hidden(), nn.Linear(6, 4).double(), nn.Linear(4, 4)),
        "2.weight",
        "is torch.float32, 1.weight torch.float64",
    ),
    "half weight": (
        lambda: nn.Sequential(hidden(), nn.Linear(6, 4).half(), hidden()),
        "1.weight",
        "is torch.float16",
    ),
    "weight norm": (weight_norm, "0", "its weight is computed"),
    "new weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), hidden()),
        "0",
        "ParametrizedLinear",
    ),
    "wrong shape": (lambda: nn.Sequential(nn.Linear(7, 4), hidden()), "0", "RuntimeError"),
    "unused argument": (lambda: UnusedArgument(None), "UnusedArgument", "'target'"),
    "one state for two": (lambda: OneStateForTwo(None), "b", "takes mem, which belongs to a"),
}

NEURONS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "inhibition": (lambda: changed("inhibition", True), "1", "inhibition=True"),
    "state_quant": (lambda: neuron(state_quant=lambda v: v), "1", "state_quant"),
    "surrogate": (lambda: neuron(spike_grad=torch.sigmoid), "1", "spike_grad"),
    "mixed beta": (lambda: neuron(torch.tensor([0.5, 1, 1.2, 0.1])), "1", "for 2 of 4 neurons"),
    "tiny beta": (lambda: neuron(1e-12), "1", "beta is 1e-12 or less for 4 neurons"),
    "threshold": (lambda: neuron(threshold=0.0), "1", "thresholds are not positive"),
    "negative": (lambda: neuron(threshold=torch.tensor([1, 1, -1, 1])), "1", "1 of 4 thresholds"),
    "graded zero": (lambda: neuron(graded_spikes_factor=0.0), "1", "graded_spikes_factor is zero"),
    "double beta": (lambda: neuron(torch.full((4,), 0.5).double()), "1.beta", "torch.float64"),
    "broadcast": (lambda: nn.Sequential(hidden(torch.ones(5, 1, 6) / 2)), "0", "broadcast"),
    "per sample": (lambda: neuron(torch.rand(BATCH, 4)), "1", "does not fit"),
    "changed reset": (
        lambda: changed("reset_mechanism", "zero", reset_delay=False),
        "1",
        "mixture",
    ),
    "update replaced": (lambda: changed("state_function", lambda x: x), "1", "state_function"),
    "shallow copy": (shallow_copy, "1", "state_function"),
    "nan weight": (lambda: poisoned("0.weight", np.nan), "0.weight", "1 of 24 values"),
    "infinite beta": (lambda: poisoned("1.beta", np.inf), "1.beta", "1 of 1 values"),
}

IMAGES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "max pool": (lambda: image(nn.MaxPool2d(2)), "0", "MaxPool2d is not supported"),
    "circular": (lambda: image(nn.Conv2d(2, 2, 3, 1, 1, padding_mode="circular")), "0", "circular"),
    "ceil_mode": (lambda: image(nn.AvgPool2d(3, ceil_mode=True)), "0", "ceil_mode"),
    "pad": (
        lambda: image(nn.AvgPool2d(3, 3, 1, count_include_pad=False)),
        "0",
        "count_include_pad",
    ),
    "divisor": (lambda: image(nn.AvgPool2d(2, divisor_override=3)), "0", "divisor_override=3"),
    "rows": (lambda: image(nn.Linear(4, 4)), "0", "expected 2 axes"),
    "norm of rows": (lambda: image(nn.BatchNorm2d(2)), "0", "does not follow"),
    "partial flatten": (lambda: image(nn.Flatten(2)), "0", "nn.Flatten turns"),
    "transposed": (custom(lambda m, x: m.lif(m.lif2(x).transpose(2, 3))), "Custom", "transpose"),
    "merged": (custom(lambda m, x: m.lif(m.lif2(x).view(-1, 4))), "Custom", "view turns"),
    "cropped": (custom(lambda m, x: m.lif(x[..., :2])), "lif", "partial view"),
}

FORWARDS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "relu": (custom(lambda m, x: m.lif(F.relu(m.fc(x)))), "Custom", "relu acts"),
    "linear": (custom(lambda m, x: m.lif(F.linear(x, m.fc.weight))), "Custom", "linear acts"),
    "times": (custom(lambda m, x: m.lif(m.fc(x) * 2)), "Custom", "mul acts"),
    "nested": (
        custom(lambda m, x: m.part(x), part=Custom(lambda m, x: m.lif(-m.fc(x)))),
        "part",
        "neg acts",
    ),
    "raises": (custom(lambda m, x: m.lif(m.fc(x.view(99)))), "Custom", "RuntimeError"),
    "training": (custom(lambda m, x: m.lif(m.d.train()(x)), d=nn.Dropout()), "d", "training mode"),
    "plus one": (custom(lambda m, x: m.lif(m.fc(x) + 1)), "Custom", "a constant"),
    "doubled": (custom(lambda m, x: m.lif(x + x)), "Custom", "added to itself"),
    "alpha": (custom(lambda m, x: m.lif(torch.add(m.fc(x), x, alpha=2))), "Custom", "operands"),
    "broadcast": (
        custom(lambda m, x: m.lif(m.fc(x) + m.one(x)), one=nn.Linear(6, 1)),
        "Custom",
        "different shapes",
    ),
    "input changed": (custom(lambda m, x: m.lif(x.add_(m.fc(x)))), "Custom", "in place"),
    "written into": (custom(written_into), "Custom", "in place"),
    "branch": (custom(lambda m, x: m.lif(x) if bool(x[0, 0]) else 0), "Custom", "__bool__ acts"),
    "leak": (custom(lambda m, x: m.lif(torch.tensor(x.tolist()))), "Custom", "tolist acts"),
    "numpy": (custom(lambda m, x: m.lif(torch.tensor(x.numpy()))), "Custom", "numpy acts"),
    "indexed": (custom(lambda m, x: m.lif(torch.ones(9)[x])), "Custom", "an argument of"),
    "encoding": (custom(lambda m, x: m.lif(x.gt(torch.rand_like(x)))), "Custom", "gt acts"),
    "to double": (custom(lambda m, x: m.lif(m.fc(x).to(torch.float64))), "Custom", "to turns"),
    "summed": (custom(lambda m, x: torch.stack([m.lif(x)]).sum(0)), "Custom", "sum acts"),
    "counted": (custom(counted), "Custom", "a constant or a recurrent value"),
    "stack": (custom(lambda m, x: m.lif2(torch.cat([m.lif(x), x]))), "Custom", "cat joins"),
    "stacked": (custom(lambda m, x: m.lif2(m.fc(torch.stack([m.lif(x)])))), "fc", "stacked"),
    "constant": (custom(lambda m, x: m.lif(m.fc(torch.ones(2, 6)))), "fc", "does not come from"),
    "membrane": (custom(lambda m, x: m.lif(m.fc(m.a(x)[1]))), "fc", "is a membrane potential"),
    "clipping": (custom(clipping), "fc.weight", "is changed by forward"),
    "adapting": (custom(adapting), "lif.threshold", "is changed by forward"),
    "returns none": (custom(lambda m, x: (m.lif(x), None)[1]), "Custom", "neither an output"),
    "returns input": (custom(lambda m, x: (m.lif(x), x)), "Custom", "what it was given"),
    "returns two steps": (custom(over_steps), "Custom", "combines 3 time steps"),
    "first membrane": (
        custom(lambda m, x: (m.lif2(m.lif(x)), m.lif.mem)[1]),
        "Custom",
        "last neuron",
    ),
    "used twice": (custom(lambda m, x: m.lif(m.fc(m.lif(m.fc(x))))), "lif", "twice within one"),
    "uneven": (custom(uneven), "lif2", "is called 3 times, lif 4 times"),
    "recurrent": (custom(recurrent, rec=nn.Linear(6, 6)), "rec", "recurrent"),
    "recurrent attribute": (custom(recurrent_attribute), "lif", "recurrent"),
    "early": (custom(one_step_early), "lif2", "in another way in call 4"),
    "restarting": (custom(restarting), "lif", "set to zero between two steps"),
    "restarting too": (custom(restarting_argument), "a", "set to zero between two steps"),
    "other state": (custom(lambda m, x: m.b(*m.a(m.fc(x)))), "b", "neither zero"),
    "scaled state": (custom(lambda m, x: m.a(x, m.a(x)[1] * 0.5)), "Custom", "mul acts"),
    "first state": (custom(lambda m, x: m.a(x, torch.ones_like(x))), "a", "neither zero"),
}

TIMES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "backwards": (custom(backwards), "lif", "in another way"),
    "one entry": (custom(lambda m, x: m.lif(x[:, 0])), "Custom", "along axis 1"),
    "whole and part": (custom(lambda m, x: [m.lif(x), m.lif2(x[:, 0])]), "Custom", "and others"),
    "every other": (custom(lambda m, x: [m.lif(x[:, k]) for k in (0, 2, 4)]), "lif", "another way"),
    "slice": (custom(lambda m, x: m.lif(x[:, 1:3])), "lif", "partial view"),
}

CASES = [
    pytest.param(shape, *case, id=f"{group}: {name}")
    for group, shape, cases in (
        ("module", VECTOR, MODULES),
        ("neuron", VECTOR, NEURONS),
        ("image", IMAGE, IMAGES),
        ("forward", VECTOR, FORWARDS),
        ("time", SERIES, TIMES),
    )
    for name, case in cases.items()
]


@pytest.mark.parametrize(("shape", "build", "node", "words"), CASES)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_refused_with_module_reason_and_way_out(
    shape: tuple[int, ...], build: Callable[[], Any], node: str, words: str
) -> None:
    torch.manual_seed(0)
    module = build().train()
    state = copy.deepcopy(module.state_dict())
    with pytest.raises(ModelError) as caught:
        from_snntorch(module, torch.rand(shape))
    assert words in str(caught.value)
    assert caught.value.node == node
    assert caught.value.hint
    assert module.training
    for name, value in module.state_dict().items():
        assert nn.parameter.is_lazy(value) or value.equal(state[name]) or value.isnan().any()
    assert not any(part._forward_hooks for part in module.modules())
