"""What a time step means to the tools that write and run NIR files, by name.

A NIR file holds equations in continuous time.  It does not say the length of a time step, how the
equations are discretised, how a neuron resets, or whether it fires at its threshold.  Every tool
has its own answer; each of these was read in the tool's source and compared with the tool itself or
with what it recorded (docs/nir.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from neurodeploy.errors import SemanticsError
from neurodeploy.semantics import Semantics

Gain = Literal["file", "one", "decayed", "step"]

MANY = 1 << 16
"""Spikes per step that are no limit in practice: Rockpool's limit, sinabs has none."""


@dataclass(frozen=True)
class Rule:
    """How a tool reads one type of NIR neuron.

    Attributes
    ----------
    gain: where the weight of the input comes from.  `file`: from r, w_in, tau and dt, as NIR's
        equations say.  `one`: the input is added as it is (to the synaptic current where there is
        one), whatever the file says.  `decayed`: the same, but the input decays in the step in
        which it arrives, i = α(i + x).  `step`: r, without dt.
    requires: fields that the tool ignores, with the only value that a file may have there.
    changes: fields of the semantics that differ from the preset's for this type.
    """

    gain: Gain = "file"
    requires: Mapping[str, float] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """What a tool computes when it runs a NIR graph.

    Attributes
    ----------
    semantics: of every population; `edge_delay` becomes Delay nodes.
    rules: NIR type -> how the tool reads it; other neurons are refused.  None: every type, as NIR's
        equations say.
    source: package, version and path that this was read in.
    dtype: of the tool's parameters; decays are rounded to it.
    delayed_inputs: whether inputs arrive `edge_delay` steps later as well.
    late_bias: whether a bias in a recurrent path acts one step late, like the spikes on it.
    joins: whether all that meets at a node arrives in the step in which it is computed.
    r_holds_dt: whether r is τ exp(−dt/τ)/dt, which is then compared with dt.
    channels_last: whether it flattens (height, width, channels) where NIR has channels first.
    own_input: whether the input of a recurrent layer, which the tool writes as passing the
        recurrent weights, reaches the neurons without them.
    sample_axes: whether it writes the axes of its sample, of length 1, into the shapes of inputs
        and outputs, which are vectors.
    hint: what to do where a file does not fit.
    """

    name: str
    summary: str
    semantics: Semantics
    rules: Mapping[str, Rule] | None = None
    source: str = ""
    dtype: str = ""
    delayed_inputs: bool = False
    late_bias: bool = False
    joins: bool = True
    r_holds_dt: bool = False
    channels_last: bool = False
    own_input: bool = False
    sample_axes: bool = False
    hint: str | None = None


_PRESETS = (
    Preset("euler", "NIR's equations by forward Euler, reset to zero", Semantics()),
    Preset(
        "exact",
        "NIR's equations solved exactly for an input that is constant within a step, reset to zero",
        Semantics(integrator="exact"),
    ),
    Preset(
        "snntorch",
        "snnTorch's neurons as they are by default: the threshold is subtracted one step later",
        Semantics(dt=1e-4, reset="subtract", reset_timing="delayed"),
        {"LIF": Rule(), "CubaLIF": Rule()},
        "snntorch 1.0.0: export_nir.py, _neurons/leaky.py, _neurons/synaptic.py",
        "float32",
        hint="snnTorch's files do not hold the reset: choose it with --reset and --reset-timing.",
    ),
    Preset(
        "norse",
        "Norse: forward Euler, reset to zero",
        Semantics(dt=1e-3),
        {
            "IF": Rule("step", {"r": 1.0, "v_reset": 0.0}),
            "LIF": Rule("file", {"r": 1.0, "v_reset": 0.0, "v_leak": 0.0}),
            "CubaLIF": Rule("file", {"v_reset": 0.0, "v_leak": 0.0}),
        },
        "norse 1.1.0: torch/utils/import_nir.py, torch/functional/lif_box.py; nirtorch 2.6: "
        "graph_executor.py",
        "float32",
        late_bias=True,
        joins=False,
        hint="Files that Norse 1.1.0 itself wrote hold dt times tau: read them with a dt of dt^2, "
        "--dt 1e-6 for Norse's default of 1 ms.",
    ),
    Preset(
        "spikingjelly",
        "SpikingJelly: forward Euler, fires at the threshold too, reset to zero",
        Semantics(dt=1e-4, comparison=">="),
        {"IF": Rule(), "LIF": Rule(), "CubaLIF": Rule()},
        "spikingjelly 2.0.0: activation_based/nir_exchange/from_nir.py, activation_based/neuron",
        "float32",
        late_bias=True,
    ),
    Preset(
        "sinabs",
        "sinabs: time constants in steps, several spikes per step, each subtracts the threshold",
        Semantics(
            dt=1.0,
            integrator="exact",
            reset="subtract",
            comparison=">=",
            spikes_per_step=MANY,
        ),
        {
            "IF": Rule("step", {"r": 1.0}),
            "LIF": Rule("file", {"r": 1.0, "v_leak": 0.0}),
            "LI": Rule("one", {"r": 1.0, "v_leak": 0.0}),
        },
        "sinabs 3.1.3: nir.py, layers/functional/lif.py, activation/spike_generation.py",
        "float32",
    ),
    Preset(
        "rockpool",
        "Rockpool: exact decays, inputs added as they are, several spikes per step, each subtracts "
        "the threshold",
        Semantics(
            dt=1e-3,
            integrator="exact",
            reset="subtract",
            comparison=">=",
            spikes_per_step=MANY,
        ),
        {
            "LIF": Rule("one", {"v_leak": 0.0}),
            "CubaLIF": Rule("decayed", {"v_leak": 0.0}),
            "LI": Rule("decayed", {"v_leak": 0.0}),
        },
        "rockpool 3.1.0: nn/modules/torch/nir.py, lif_torch.py, lif_neuron_torch.py, "
        "exp_syn_torch.py",
        "float32",
        r_holds_dt=True,
        sample_axes=True,
    ),
    Preset(
        "spyx",
        "Spyx: inputs added as they are, the threshold is subtracted one step later, spikes leave "
        "one step later",
        Semantics(dt=1.0, reset="subtract", reset_timing="delayed", edge_delay=1),
        {
            "IF": Rule("one", {"v_reset": 0.0}),
            "LIF": Rule("one", {"v_leak": 0.0, "v_reset": 0.0}),
            "CubaLIF": Rule("one", {"v_leak": 0.0, "v_reset": 0.0}, {"reset_timing": "immediate"}),
        },
        "spyx 1.0.0: nir.py, nn.py",
        "float32",
        channels_last=True,
        own_input=True,
    ),
    Preset(
        "lava",
        "Lava's floating-point LIF: forward Euler, reset to zero, spikes arrive one step later",
        Semantics(dt=1e-4, edge_delay=1),
        {"LIF": Rule("file", {"r": 1.0, "v_leak": 0.0, "v_reset": 0.0})},
        "neuromorphs/NIR @b05d1ff: paper/nir_to_lava.py; lava-nc 0.10.0: proc/lif/models.py",
        delayed_inputs=True,
    ),
    Preset(
        "spinnaker2",
        "SpiNNaker2's importer: exact decays, fires at the threshold too, subtracts it, spikes "
        "arrive one step later; its weights of 8 bits are not part of this",
        Semantics(dt=1.0, integrator="exact", reset="subtract", comparison=">=", edge_delay=1),
        {
            "IF": Rule("step", {"v_reset": 0.0}),
            "LIF": Rule("file", {"v_reset": 0.0}),
        },
        "SpiNNakerManchester/sPiNNIRker @47c758b: spinnirker/__init__.py",
        delayed_inputs=True,
    ),
)

PRESETS: Mapping[str, Preset] = {item.name: item for item in _PRESETS}


def preset(name: str, **changes: Any) -> Preset:
    """The preset of that name with some fields of its semantics replaced.

    Raises
    ------
    SemanticsError
        There is no such preset.
    FileError
        An impossible number.
    """
    if name not in PRESETS:
        raise SemanticsError(
            f"no semantics are called {name!r}", hint=f"There are: {', '.join(PRESETS)}."
        )
    chosen = PRESETS[name]
    if not changes:
        return chosen
    rules = (
        None
        if chosen.rules is None
        else {
            kind: replace(rule, changes={k: v for k, v in rule.changes.items() if k not in changes})
            for kind, rule in chosen.rules.items()
        }
    )
    said = ", ".join(f"{key}={value}" for key, value in changes.items())
    return replace(
        chosen,
        name=f"{name} with {said}",
        semantics=replace(chosen.semantics, **changes).validate(),
        rules=rules,
    )
