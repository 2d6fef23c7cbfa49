"""The model: bundles, TensorRT engines, and the backend that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import List, Mapping, Tuple

from refdet_core.doctor.check_process import CheckResult
from refdet_core.doctor.report import BROKEN, WARNING, Finding, Section


def bundle_section(bundles: Mapping[str, CheckResult]) -> Section:
    """``bundles``: the result of the check ``bundle`` for each released name and other folder."""
    facts: List[Tuple[str, str]] = []
    findings: List[Finding] = []
    for name, result in bundles.items():
        if result.error:
            own = Path(name).is_absolute()
            facts.append((name, "unusable"))
            findings.append(
                Finding(
                    BROKEN,
                    f"The bundle {name}{'' if own else ' that comes with refdet'} cannot be used: "
                    f"{result.error}",
                    "give another one, or export it again (refdet-train export)"
                    if own
                    else "install refdet again",
                )
            )
            continue
        verified = ", ".join(result.facts["verified"]) or "no file"
        text = "{name} {version}, {folder}".format(**result.facts)
        facts.append((name, f"{text} (sha256 as in bundle.yaml: {verified})"))
    return Section("Model bundles", tuple(facts), tuple(findings))


def engine_section(result: CheckResult) -> Section:
    """The TensorRT engines in the configured folder."""
    if result.error:
        return Section(
            "TensorRT engines",
            (("folder", "unusable"),),
            (
                Finding(
                    WARNING,
                    f"The engines cannot be checked: {result.error}",
                    "give another one with --config engine_folder=DIR, the node's parameter of the "
                    "same name, or change this one's owner",
                ),
            ),
        )
    engines = result.facts["engines"]
    facts = [("folder", result.facts["folder"]), ("engines", str(len(engines)))]
    facts += [
        (f"  {item['name']}", f"{item['bytes'] / 1e6:.1f} MB, {item['state']}") for item in engines
    ]
    return Section("TensorRT engines", tuple(facts))


def backend_section(name: str, result: CheckResult) -> Section:
    """Whether the backend opens with the bundle."""
    if not result.error and result.facts["opened"]:
        return Section("Backend", ((name, result.facts["text"]),))
    if not result.error:
        return Section(
            "Backend",
            ((name, result.facts["text"]),),
            (
                Finding(
                    WARNING,
                    "The engines for this bundle, GPU, TensorRT and settings are not built yet: "
                    "the first start builds them, which takes minutes.",
                    "refdet engine build, once, with the node's settings (given here with "
                    "--config): engine_max_tiles=2 is --max-tiles 2 there",
                ),
            ),
        )
    return Section(
        "Backend",
        ((name, "does not open"),),
        (
            Finding(
                BROKEN,
                f"The backend {name} does not open: {result.error}",
                "what the sentence above says"
                if name == "onnxruntime"
                else "what the sentence above says, or another backend (parameter backend:=..., "
                "here --backend)",
            ),
        ),
    )
