"""The search for the fastest file whose accuracy holds a budget.

Choices are made on the calibration images by how far a file's outputs are from the float model's (`Task.divergence`, KL
for probabilities); only what looks good there is run on the validation images, where the budget is. In the order of
what is tried:

1. everything in 8-bit integers: as it is, equalised, with ranges clipped in several ways;
2. the groups of operators that lose most, one after the other in higher precision, until the budget holds;
3. 8-bit weights with activations quantised while running, where integers from end to end are not asked for;
4. the best of these with fewer and fewer tokens, where the head does not need each in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keras_vit.export.comparison import divergence
from keras_vit.export.graph import Network
from keras_vit.export.graph.network import Tail
from keras_vit.export.material import INTEGER_FORM, Form, Material
from keras_vit.export.progress import Advance
from keras_vit.export.quantize import DYNAMIC, INTEGER, Policy, Rule, operators
from keras_vit.export.running import MODEL_ALONE, run_file
from keras_vit.export.verify import Reference, size_bytes

GOALS = ("fast", "integer")
"""`fast`: whatever is fastest here. `integer`: integers wherever there is a kernel, for NPUs and microcontrollers."""

RECIPES = {
    "all int8, as trained": (replace(INTEGER_FORM, equalised=False), INTEGER),
    "all int8, equalised": (INTEGER_FORM, INTEGER),
    "all int8, equalised, full ranges": (INTEGER_FORM, replace(INTEGER, clipping="minmax")),
    "all int8, equalised, middle 99.99 %": (INTEGER_FORM, replace(INTEGER, clipping=99.99)),
    "all int8, equalised, ranges of least error": (INTEGER_FORM, replace(INTEGER, clipping="mse")),
}
"""What is tried first: name -> form of the network and policy."""

MERGING_DEPTHS = (0.25, 0.5)
"""Tokens are merged in the blocks at these shares of the depth: late enough to know what is alike. Every merge costs
time, so that two large ones are faster than many small ones."""
MERGING_SHARES = (0.12, 0.2, 0.265, 0.33)
"""Of all patches, so many are merged away at each place; a step is tried while the one before it holds the budget."""

MOST_RELAXED = 8
"""So many groups are given a higher precision at most; a file of more is no longer quantised."""


@dataclass
class Trial:
    """One file that was tried.

    Attributes:
        name: what it is.
        form, policy: how it is made.
        file: where it lies.
        kl: mean divergence from the float model on the calibration images.
        latency_ms: its fastest call there: files are compared, and other work on the machine only makes calls slower.
        metric: on the validation images; None where it was not run there.
        kept: whether it is what the search found.
    """

    name: str
    form: Form
    policy: Policy
    file: Path
    kl: float
    latency_ms: float
    metric: float | None = None
    kept: bool = False

    def entry(self) -> dict:
        """As the report tells it."""
        return {
            "name": self.name,
            "kl": self.kl,
            "metric": self.metric,
            "size_bytes": size_bytes(self.file),
            "latency_ms": self.latency_ms,
            "kept": self.kept,
        }


class Search:
    """Tries files until one is as fast as the budget allows.

    Args:
        material: the model, with calibration images.
        reference: validation images.
        max_drop: how much of the metric may be lost, a fraction.
        goal: one of `GOALS`.
        advance: is told how many files were tried, and of how many at most.
    """

    def __init__(
        self, material: Material, reference: Reference, *, max_drop: float, goal: str, advance: Advance | None = None
    ):
        self.material = material
        self.reference = reference
        self.least = reference.score - max_drop - 1e-9
        self.goal = goal
        self.advance = advance
        self.trials: list[Trial] = []
        self.truth, _ = self._run(material.float_tflite(), material.calibration_images)

    def run(self) -> Trial:
        """The fastest file that holds the budget; where none does, the most accurate one.

        Returns:
            Also among `trials`, and marked there.
        """
        found = [self._integer()]
        if self.goal == "fast":
            found.append(self._judged(self._best_dynamic()))
        holding = [trial for trial in found if self._holds(trial)]
        best = min(holding, key=lambda t: t.latency_ms) if holding else max(found, key=lambda t: t.metric)
        if holding and not isinstance(self.material.network.head, Tail):
            best = self._with_fewer_tokens(best)
        best.kept = True
        return best

    def _integer(self) -> Trial:
        """The best recipe; where it misses the budget, with more and more operators in higher precision."""
        recipes = [self._try(name, form, policy) for name, (form, policy) in RECIPES.items()]
        best = self._judged(min(recipes, key=lambda trial: trial.kl))
        if self._holds(best):
            return best
        base, relaxed = best, []
        for count, (group, rules) in enumerate(self._most_sensitive(base), start=1):
            relaxed += rules
            names = f"{base.name}; {count} groups in higher precision, the last {group}"
            trial = self._judged(self._try(names, base.form, base.policy.with_rules(*relaxed)))
            best = max(best, trial, key=lambda t: t.metric)
            if self._holds(trial):
                return trial
        return best

    def _best_dynamic(self) -> Trial:
        """8-bit weights, activations while running; outliers in the weights need the network evened out here too."""
        policy, name = replace(DYNAMIC, bias_correction=True), "int8 weights, activations while running"
        forms = {name: Form(), f"{name}, equalised": Form(equalised=True)}
        return min((self._try(*made, policy) for made in forms.items()), key=lambda trial: trial.kl)

    def _most_sensitive(self, base: Trial) -> Iterator[tuple[str, Sequence[Rule]]]:
        """The groups of operators, those first whose precision matters most."""
        gains = []
        for group, rules in self._groups(base.form).items():
            trial = self._try(f"{base.name}; {group} in higher precision", base.form, base.policy.with_rules(*rules))
            gains.append((base.kl - trial.kl, group, rules))
        gains.sort(key=lambda gain: -gain[0])
        return ((group, rules) for gain, group, rules in gains[:MOST_RELAXED] if gain > 0)

    def _groups(self, form: Form) -> dict[str, list[Rule]]:
        """Name -> rules that lift the precision of these operators, for those that the network has."""
        higher = "int16" if self.goal == "integer" else "float"
        groups = {
            "normalisations": Rule(higher, r"(^|/)(norm\d?|patch_norm)/"),
            "residual sums": Rule(higher, r"/add\d"),
            "softmax": Rule(higher, kinds=("SOFTMAX",)),
            "activations": Rule(higher, r"/mlp/activation"),
            "patches and positions": Rule(higher, r"^(patch_embedding|tokens)"),
            "head": Rule(higher, r"^head/"),
        }
        groups |= {f"block {i}": Rule(higher, f"^block_{i}/") for i in range(len(self.material.network.blocks))}
        names = operators(self.material.float_tflite(form))
        return {name: [rule] for name, rule in groups.items() if any(rule.matches(*operator) for operator in names)}

    def _with_fewer_tokens(self, best: Trial) -> Trial:
        for share in MERGING_SHARES:
            schedule = merging_schedule(self.material.network, share)
            name = f"{best.name.split('; tokens')[0]}; tokens merged by {share:.0%} in two blocks"
            trial = self._judged(self._try(name, replace(best.form, schedule=schedule), best.policy))
            if not self._holds(trial):
                break
            best = min(best, trial, key=lambda t: t.latency_ms)
        return best

    def _try(self, name: str, form: Form, policy: Policy) -> Trial:
        """Makes a file and runs it on the calibration images."""
        path = self.material.folder / f"trial_{len(self.trials)}.tflite"
        self.material.quantise(path, policy, form)
        outputs, latency = self._run(path, self.material.calibration_images)
        distance = divergence(outputs, self.truth, self.material.task)
        trial = Trial(name, form, policy, path, distance, latency)
        self.trials.append(trial)
        if self.advance:
            groups = len(self.material.network.blocks) + 6
            self.advance(len(self.trials), len(RECIPES) + groups + MOST_RELAXED + len(MERGING_SHARES) + 2)
        return trial

    def _judged(self, trial: Trial) -> Trial:
        """Runs a file on the validation images."""
        outputs, _ = self._run(trial.file, self.reference.inputs["images"])
        trial.metric = self.reference.score_of(outputs)
        return trial

    def _holds(self, trial: Trial) -> bool:
        return trial.metric is not None and trial.metric >= self.least

    def _run(self, path: Path, images: Path) -> tuple[np.ndarray, float]:
        results = run_file(path, "run_tflite", {"images": images}, threads=self.material.threads)
        return results.outputs[MODEL_ALONE], float(results.latency_ms[MODEL_ALONE].min())


def merging_schedule(network: Network, share: float) -> tuple[int, ...]:
    """How many tokens each block merges away: a share of all patches in the blocks at `MERGING_DEPTHS`."""
    depth, patches = len(network.blocks), network.num_tokens - network.prefix
    schedule = [0] * depth
    for place in MERGING_DEPTHS:
        schedule[int(place * depth)] = int(share * patches)
    return tuple(schedule)
