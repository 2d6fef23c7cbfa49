"""The model: bundles, TensorRT engines, and the backend that runs them."""

from __future__ import annotations

from typing import List, Mapping, Tuple

from refdet_core.doctor.asking import Answer
from refdet_core.doctor.report import BROKEN, WARNING, Finding, Section


def bundle_section(bundles: Mapping[str, Answer]) -> Section:
    """``bundles``: the answer to ``bundle`` for each folder, "" being the released one."""
    facts: List[Tuple[str, str]] = []
    findings: List[Finding] = []
    for folder, answer in bundles.items():
        title = folder or "released"
        if answer.error:
            facts.append((title, "unusable"))
            findings.append(
                Finding(
                    BROKEN,
                    f"The bundle {folder or 'that comes with refdet'} cannot be used: "
                    f"{answer.error}",
                    "export it again (refdet-train export)" if folder else "install refdet again",
                )
            )
            continue
        verified = ", ".join(answer.facts["verified"]) or "no file"
        text = "{name} {version}, {folder}".format(**answer.facts)
        facts.append((title, f"{text} (sha256 as in bundle.yaml: {verified})"))
    return Section("Model bundles", tuple(facts), tuple(findings))


def engine_section(answer: Answer) -> Section:
    """TensorRT's engines in the folder that the settings name."""
    if answer.error:
        return Section(
            "TensorRT engines",
            (("folder", "unusable"),),
            (
                Finding(
                    WARNING,
                    f"The engines cannot be looked at: {answer.error}",
                    "give another one with --config engine_folder=DIR, the node's parameter of the "
                    "same name, or change this one's owner",
                ),
            ),
        )
    engines = answer.facts["engines"]
    facts = [("folder", answer.facts["folder"]), ("engines", str(len(engines)))]
    facts += [
        (f"  {item['name']}", f"{item['bytes'] / 1e6:.1f} MB, {item['state']}") for item in engines
    ]
    return Section("TensorRT engines", tuple(facts))


def backend_section(name: str, answer: Answer) -> Section:
    """Whether the backend opens with the bundle."""
    if not answer.error and answer.facts["opened"]:
        return Section("Backend", ((name, answer.facts["text"]),))
    if not answer.error:
        return Section(
            "Backend",
            ((name, answer.facts["text"]),),
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
                f"The backend {name} does not open: {answer.error}",
                "what the sentence above says"
                if name == "onnxruntime"
                else "what the sentence above says, or another backend (parameter backend:=..., "
                "here --backend)",
            ),
        ),
    )
