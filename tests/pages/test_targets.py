"""One page for many targets: complete, self-contained, and good in a real browser."""

from __future__ import annotations

import html
import importlib.resources
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from neurodeploy import api
from neurodeploy.equivalence.causes import names
from neurodeploy.errors import InputError
from neurodeploy.pages.html import report
from neurodeploy.pages.targets import Deployed, compare_targets
from tests.builders import SUBTRACT, chain, lif, spikes_for
from tests.pages.test_html import Reader

TARGETS = ("loihi2", "spinnaker2", "cpu8")


@pytest.fixture(scope="module")
def deployed() -> list[Deployed]:
    """A model on three targets; one has no vendor's runs, one no energies and no cores."""
    rng = np.random.default_rng(0)
    inputs = spikes_for(1, 8, 30, (12,))
    graph = chain(
        (12,),
        fc1=nir.Linear(rng.normal(0.1, 0.4, (30, 12))),
        lif1=lif(np.full(30, 0.9), semantics=SUBTRACT),
        fc2=nir.Linear(rng.normal(0.1, 0.4, (4, 30))),
        lif2=lif(np.full(4, 0.85), semantics=SUBTRACT),
    )
    found = []
    for target in TARGETS:
        program = api.compile(graph, target=target, calibration=inputs)
        vendor = None if target == "loihi2" else 4
        labels = np.arange(8) % 4
        verdict = api.verify(program, inputs, labels=labels, vendor_samples=vendor)
        known = target != "cpu8"
        energy = api.energy(program, verdict.trace) if known else None
        placement = api.place(program) if known else None
        found.append(Deployed(f"<{target}>", program, verdict, energy, placement))
    return found


@pytest.fixture(scope="module")
def pages(deployed: list[Deployed], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of all targets, and that of one program."""
    folder = tmp_path_factory.mktemp("pages")
    compare_targets(folder / "many.html", deployed, title="Many & one")
    first = deployed[0]
    assert first.energy is not None
    report(folder / "one.html", first.program, first.verdict, first.energy, title="One")
    return {"many": folder / "many.html", "one": folder / "one.html"}


def test_everything_stands_side_by_side(deployed: list[Deployed], pages: dict[str, Path]) -> None:
    page = Reader(pages["many"].read_text("utf-8"))
    text = " ".join(page.text)
    data = json.loads(page.data)["targets"]
    for one, plain in zip(deployed, data, strict=True):
        assert page.text.count(one.name) >= 5
        assert plain["verdict"] == json.loads(json.dumps(one.verdict.to_dict()))
        assert one.program.hash[:16] in text
        stage = one.verdict.stage("lowering")
        assert f"{stage.mismatches:,} of {stage.cells:,}" in text
        assert stage.first is not None
        assert stage.first.trace is not None
        assert stage.first.trace[stage.first.cell.step] == stage.first.potential
        assert str(stage.first) in text
    for expected in ("weight rounding", "NOT RUN", "NOT APPLICABLE", "McNemar p", "unknown"):
        assert expected in text
    assert "<spinnaker2> in " in text
    assert "No cores to place neurons on: <cpu8>." in text


def test_the_page_of_one_program_says_why(deployed: list[Deployed], pages: dict[str, Path]) -> None:
    page = Reader(pages["one"].read_text("utf-8"))
    text, causes = " ".join(page.text), deployed[0].verdict.causes
    assert causes.first is not None
    assert f"; {causes.first}. " in text
    for figure in ("Local differences of each layer by their causes", "Membrane potential of lif"):
        assert figure in text
    differing = [layer for layer in causes.layers if layer.local]
    assert differing
    for layer in differing:
        for found, count in layer.histogram.items():
            assert f"{' + '.join(names(found))}: {count:,}" in text


def test_the_page_needs_nothing_else_and_is_small(pages: dict[str, Path]) -> None:
    text = pages["many"].read_text("utf-8")
    page = Reader(text)
    assert len(text.encode()) < 3_000_000
    assert page.names.count("script") == 1
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for key in ("src", "href", "xlink:href", "srcset"):
        assert all(v and v.startswith(("#", "data:image/png;base64,")) for v in page.values(key))
    assert "url(" not in text.replace("url(#", "")


def test_what_does_not_belong_together_is_refused(deployed: list[Deployed], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    with pytest.raises(InputError, match="no program"):
        compare_targets(path, [], title="x")
    with pytest.raises(InputError, match="named alike"):
        compare_targets(path, [deployed[0], deployed[0]], title="x")
    one = deployed[0]
    fewer = api.verify(one.program, spikes_for(1, 3, 30, (12,)), vendor_samples=None)
    other = Deployed("other", one.program, fewer, None, None)
    with pytest.raises(InputError, match="other: it is of another model, or of other inputs"):
        compare_targets(path, [one, other], title="x")
    assert not path.exists()


# --- in a browser --------------------------------------------------------------------------------


def in_browser(page: Path, script: str, *, dark: bool) -> Any:
    """What a JavaScript promise gives on `page`; nothing but this file can be reached."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    added = (
        f"<script>{script}.then(r => {{ const e = document.createElement('pre'); e.id = 'result'; "
        "e.textContent = JSON.stringify(r); document.body.append(e); })</script></body>"
    )
    scripted = page.with_name(f"scripted-{page.name}")
    scripted.write_text(page.read_text("utf-8").replace("</body>", added), "utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9",
        f"--blink-settings=preferredColorScheme={int(not dark)}", "--dump-dom", scripted.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.S)
    assert found is not None, done.stderr
    return json.loads(html.unescape(found[1]))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["many", "one"])
def test_axe_finds_nothing(name: str, dark: bool, pages: dict[str, Path]) -> None:
    """The accessibility rules of axe-core, contrasts too."""
    axe = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    script = (
        f"0;{axe}; axe.run().then(r => ({{passes: r.passes.length, background: "
        "getComputedStyle(document.body).backgroundColor, violations: r.violations.map("
        "v => [v.id, v.impact, v.nodes.map(n => n.html)])}))"
    )
    found = in_browser(pages[name], script, dark=dark)
    assert found["violations"] == []
    assert found["passes"] > 20
    assert found["background"] == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
