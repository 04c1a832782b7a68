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
            setattr(self, name, part)

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


def clipped(m: Any, x: Any) -> Any:
    m.weight.data.clamp_(-0.1, 0.1)
    return m.lif(F.linear(x, m.weight))


def norm_through_time(m: Any, x: Any) -> Any:
    return [m.lif(norm(m.fc(entry))) for norm, entry in zip(m.norms, x.unbind(1), strict=True)]


def adapting(m: Any, x: Any) -> Any:
    m.lif.threshold = m.lif.threshold * 1.1
    return m.lif(m.fc(x))


def weight_norm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 4)), hidden())


class ForgottenInput(Custom):
    def forward(self, x: Any, other: Any) -> Any:
        return self.lif(self.fc(x) + self.fc(other))


class NoDefault(Custom):
    def forward(self, x: Any, num_steps: Any) -> Any:
        return [self.lif(self.fc(x)) for _ in range(num_steps)]


class Switch(Custom):
    def forward(self, x: Any, mem: Any = None, other: Any = None) -> Any:
        spikes, _ = self.a(self.fc(x), torch.zeros(BATCH, 6) if mem is None else mem)
        return spikes if other is None else self.lif(spikes)


class OneStateForTwo(Custom):
    def forward(self, x: Any, mem: Any) -> Any:
        return self.b(self.a(self.fc(x), mem)[0], mem)


MODULES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "relu": (lambda: after_linear(hidden(), nn.ReLU()), "2", "ReLU is not supported"),
    "subclass": (lambda: nn.Sequential(MyLinear(6, 4), hidden()), "0", "a subclass of Linear"),
    "no neuron": (lambda: after_linear(), "Sequential", "calls no snnTorch neuron"),
    "tuple": (lambda: after_linear(snn.Leaky(0.9), nn.Linear(4, 2)), "2", "gets a tuple"),
    "norm of batches": (
        lambda: after_linear(nn.BatchNorm1d(4, track_running_stats=False), hidden()),
        "1",
        "track_running_stats",
    ),
    "norm of many features": (
        lambda: nn.Sequential(nn.Linear(6, 4097), hidden(), nn.BatchNorm1d(4097), hidden()),
        "2",
        "at most 4096 features",
    ),
    "layer norm": (lambda: after_linear(nn.LayerNorm(4), hidden()), "1", "LayerNorm is not"),
    "flatten all": (lambda: after_linear(nn.Flatten(0), hidden()), "1", "Flatten turns"),
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
    "weight norm": (weight_norm, "0", "has a weight that is no parameter"),
    "new weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), hidden()),
        "0",
        "ParametrizedLinear",
    ),
    "wrong shape": (lambda: nn.Sequential(nn.Linear(7, 4), hidden()), "0", "RuntimeError"),
    "forgotten input": (lambda: ForgottenInput(None), "fc", "uses forward's argument 'other'"),
    "no default": (lambda: NoDefault(None), "NoDefault", "uses forward's argument 'num_steps'"),
    "switch": (lambda: Switch(None), "a", "set to zero between two steps"),
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
    "circular": (lambda: image(nn.Conv2d(2, 2, 3, 1, 1, padding_mode="circular")), "0", "circular"),
    "transposed with stride": (
        lambda: image(nn.ConvTranspose2d(2, 2, 3, stride=2)),
        "0",
        "puts zeros between its inputs",
    ),
    "max of the input": (lambda: image(nn.MaxPool2d(2)), "0", "maximum of currents"),
    "max of currents": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.MaxPool2d(2), hidden()),
        "1",
        "maximum of currents",
    ),
    "max of averages": (
        lambda: nn.Sequential(hidden(), nn.AvgPool2d(2), nn.MaxPool2d(2), hidden()),
        "2",
        "maximum of currents",
    ),
    "max of graded spikes": (
        lambda: nn.Sequential(hidden(graded_spikes_factor=0.5), nn.MaxPool2d(2), hidden()),
        "1",
        "maximum of currents",
    ),
    "max of a sum": (
        custom(lambda m, x: m.lif2(F.max_pool2d(m.lif(x) + x, 2))),
        "Custom",
        "maximum of currents",
    ),
    "max with indices": (
        lambda: nn.Sequential(hidden(), nn.MaxPool2d(2, return_indices=True), nn.Identity()),
        "1",
        "MaxPool2d returns a tuple",
    ),
    "function with indices": (
        custom(lambda m, x: m.lif2(F.max_pool2d(m.lif(x), 2, return_indices=True)[0])),
        "Custom",
        "max_pool2d_with_indices acts",
    ),
    "max of padding": (
        lambda: nn.Sequential(nn.Conv2d(2, 2, 4), hidden(), nn.MaxPool2d(2, 1, 1, 2), hidden()),
        "2",
        "maximum is -inf",
    ),
    "adaptive": (lambda: image(nn.AdaptiveAvgPool2d(3)), "0", "windows of different sizes"),
    "norm_type": (lambda: image(nn.LPPool2d(2, 2)), "0", "norm_type=2"),
    "series without channels": (
        lambda: nn.Sequential(nn.Flatten(), nn.AvgPool1d(2), hidden()),
        "1",
        "gets a tensor of 2 axes, expected 3 axes",
    ),
    "shift within a channel": (
        custom(lambda m, x: m.lif(m.conv(x) + torch.arange(4.0)), conv=nn.Conv2d(2, 2, 1)),
        "Custom",
        "differs within a channel",
    ),
    "unsqueezed": (custom(lambda m, x: m.lif(m.lif2(x).unsqueeze(2))), "Custom", "unsqueeze turns"),
    "unflattened": (
        lambda: nn.Sequential(hidden(), nn.Flatten(), nn.Unflatten(1, (2, 16)), hidden()),
        "2",
        "Unflatten is not supported",
    ),
    "transposed": (custom(lambda m, x: m.lif(m.lif2(x).transpose(2, 3))), "Custom", "transpose"),
    "merged": (custom(lambda m, x: m.lif(m.lif2(x).view(-1, 4))), "Custom", "view turns"),
    "cropped": (custom(lambda m, x: m.lif(x[..., :2])), "lif", "partial view"),
}

FORWARDS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "relu": (custom(lambda m, x: m.lif(F.relu(m.fc(x)))), "Custom", "relu acts"),
    "nothing left": (
        custom(lambda m, x: m.lif(F.linear(x, m.w)), w=nn.Parameter(torch.empty(0, 6))),
        "Custom",
        "linear turns torch.float32 (3, 6) into torch.float32 (3, 0)",
    ),
    "computed weight": (
        custom(lambda m, x: m.lif(F.linear(x, m.fc.weight * 2))),
        "Custom",
        "linear has a weight that is no parameter",
    ),
    "computed bias": (
        custom(lambda m, x: m.lif(F.linear(x, m.fc.weight, -m.fc.bias))),
        "Custom",
        "linear has a bias that is no parameter",
    ),
    "clipped parameter": (
        custom(clipped, weight=nn.Parameter(torch.ones(6, 6))),
        "weight",
        "is changed by forward",
    ),
    "other arguments": (
        custom(lambda m, x: m.lif(torch.dropout(x, p=0.5, train=False))),
        "Custom",
        "expected input, p, training, inplace",
    ),
    "dropout": (custom(lambda m, x: m.lif(F.dropout(x))), "Custom", "drops values at random"),
    "norm of batches": (
        custom(lambda m, x: m.lif(F.batch_norm(x, *torch.ones(2, 6), training=True))),
        "Custom",
        "normalises with the statistics of each batch",
    ),
    "one axis": (
        custom(lambda m, x: [m.lif(m.fc(x[k])) for k in range(3)]),
        "fc",
        "gets a tensor of 1 axis",
    ),
    "nested": (
        custom(lambda m, x: m.part(x), part=Custom(lambda m, x: m.lif(abs(m.fc(x))))),
        "part",
        "abs acts",
    ),
    "product": (custom(lambda m, x: m.lif(m.fc(x) * x)), "Custom", "are multiplied"),
    "quotient": (custom(lambda m, x: m.lif(m.fc(x) / x)), "Custom", "divided by one that depends"),
    "reciprocal": (custom(lambda m, x: m.lif(1 / x)), "Custom", "a constant is divided by"),
    "over zero": (custom(lambda m, x: m.lif(x / 0)), "Custom", "divided by zero"),
    "rounded": (
        custom(lambda m, x: m.lif(torch.div(x, 2, rounding_mode="floor"))),
        "Custom",
        "div with more than its operands",
    ),
    "infinite": (custom(lambda m, x: m.lif(x * np.inf)), "Custom", "not finite"),
    "gain per sample": (
        custom(lambda m, x: m.lif(x * torch.arange(3.0)[:, None])),
        "Custom",
        "differs between samples",
    ),
    "double gain": (
        custom(lambda m, x: m.lif(x * torch.ones(6).double())),
        "lif",
        "its membrane potential is torch.float64, its model torch.float32",
    ),
    "widening gain": (
        custom(lambda m, x: m.lif(m.one(x) * torch.ones(6)), one=nn.Linear(6, 1)),
        "Custom",
        "mul turns torch.float32 (3, 1) into torch.float32 (3, 6)",
    ),
    "filled": (
        custom(lambda m, x: m.lif(m.fc(x) + torch.full_like(m.fc.bias, fill_value=x[0, 0]))),
        "Custom",
        "an argument of full_like depends on the input",
    ),
    "noise": (custom(lambda m, x: m.lif(m.fc(x) + torch.randn(6))), "Custom", "drawn at random"),
    "noise like": (custom(lambda m, x: m.lif(torch.rand_like(x) * x)), "Custom", "at random"),
    "own noise": (
        custom(lambda m, x: m.lif(m.fc(x) + torch.zeros(6).normal_())),
        "Custom",
        "drawn at random",
    ),
    "constant changed": (
        custom(lambda m, x: m.lif(torch.zeros(BATCH, 6).add_(m.fc(x)))),
        "Custom",
        "in place",
    ),
    "raises": (custom(lambda m, x: m.lif(m.fc(x.view(99)))), "Custom", "RuntimeError"),
    "training": (custom(lambda m, x: m.lif(m.d.train()(x)), d=nn.Dropout()), "d", "training mode"),
    "plus one": (custom(lambda m, x: m.lif(x + 1)), "Custom", "a constant"),
    "minus one": (custom(lambda m, x: m.lif(m.fc(x) * 2 - 1)), "Custom", "a constant"),
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
    "scaled state": (
        custom(lambda m, x: m.a(x, m.a(x)[1] * 0.5)),
        "Custom",
        "a membrane potential",
    ),
    "first state": (custom(lambda m, x: m.a(x, torch.ones_like(x))), "a", "neither zero"),
}

TIMES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "backwards": (custom(backwards), "lif", "in another way"),
    "one entry": (custom(lambda m, x: m.lif(x[:, 0])), "Custom", "along axis 1"),
    "whole and part": (custom(lambda m, x: [m.lif(x), m.lif2(x[:, 0])]), "Custom", "and others"),
    "every other": (custom(lambda m, x: [m.lif(x[:, k]) for k in (0, 2, 4)]), "lif", "another way"),
    "norm through time": (
        custom(norm_through_time, norms=snn.BatchNormTT1d(6, 5)),
        "norms.1",
        "change with the time step",
    ),
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


def test_a_linear_layer_of_many_rows_is_refused() -> None:
    """Its matrices would take more memory than the model."""
    with pytest.raises(ModelError, match="17000 rows") as caught:
        from_snntorch(nn.Sequential(nn.Linear(64, 64), hidden()), torch.zeros(1, 17000, 64))
    assert caught.value.node == "0"
    assert caught.value.hint == "Use nn.Conv1d(64, 64, 1) on (batch, features, rows)."


def test_poolings_in_changing_order_are_refused() -> None:
    """The calls of a shared pooling are told apart by their order."""

    def forward(m: Any, x: Any) -> Any:
        out = []
        for step, entry in enumerate(x.unbind(1)):
            order = (m.lif, m.lif2)[:: -1 if step else 1]
            pooled = {neurons: m.pool(neurons(entry)) for neurons in order}
            out.append(m.last(pooled[m.lif] - pooled[m.lif2]))
        return out

    model = Custom(forward, pool=nn.MaxPool1d(2), last=hidden())
    with pytest.raises(ModelError, match="in another order") as caught:
        from_snntorch(model, torch.rand(BATCH, 3, 2, 6))
    assert caught.value.node == "pool"
    assert caught.value.hint == "Use a pooling module for each layer."
