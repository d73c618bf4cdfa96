"""What a study will train, and what speaks against it before the first training begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

import fcam_tf
from fcam_tf import training
from fcam_tf.claim import SettingsChangedError, read_settings
from fcam_tf.identity import BEST
from fcam_tf.names import CENTER, FSL, listed
from fcam_tf.paper.cells import Cell
from fcam_tf.training.loop import described_splits
from fcam_tf.training.random_search import changed_search
from fcam_tf.training.run_folder import ABOUT, changed_settings

if TYPE_CHECKING:
    from fcam_tf.paper.study import Study
    from fcam_tf.training import Recipe

# What the benchmark's search draws for each method, besides the learning rate.
RATE = "learning_rate=log:0.001..0.03"
SPACES: dict[str, tuple[str, ...]] = {
    "has": ("grid_size=8|16|32|56", "drop_rate=0.1..0.7"),
    "cutmix": ("beta=0.2..2.0", "probability=0.2..1.0"),
    "adl": ("drop_rate=0.1..0.9", "threshold=0.5..0.95"),
    "acol": ("threshold=0.5..0.95",),
    "spg": (
        *("class_high=0.5..0.9", "class_low=0.01..0.2", "side_high=0.4..0.8"),
        *("side_low=0.01..0.2", "fused_high=0.5..0.9", "fused_low=0.01..0.2"),
    ),
    "icl": (
        *("drop_rate=0.1..0.9", "high=0.7..0.95", "foreground=0.3..0.6", "low=0.05..0.3"),
        *("contrast=log:0.1..1.0", "consistency=log:0.1..1.0"),
    ),
}
_WHOSE = {"classifier": "the classifiers'", "fcam": "the F-CAMs'", FSL: "full supervision's"}
_REMEDY = "give another folder, or remove these to train them again"
# Numbers of a recipe that no model and no split can be at odds with.
_NUMBERS = {
    *("epochs", "learning_rate", "lr_step", "lr_factor", "momentum", "weight_decay", "ema"),
    *("clip_norm", "resize", "flip", "head_ratio", "loss", "seed"),
}


@dataclasses.dataclass(frozen=True)
class Training:
    """A training as `training.train` takes it."""

    stage: str
    start: training.Start
    recipe: Recipe
    folder: Path


@dataclasses.dataclass(frozen=True)
class Search:
    """A search as `training.search` takes it; ``more`` is what else is asked."""

    folder: Path
    start: training.Start
    recipe: Recipe
    draws: int
    about: Mapping[str, Any]
    more: Mapping[str, Any]

    @property
    def drawn(self) -> tuple[str, ...]:
        """What is drawn, as text."""
        return (RATE, *(f"baseline.{text}" for text in SPACES.get(str(self.start.method), ())))

    @property
    def space(self) -> dict[str, Any]:
        """What is drawn."""
        return dict(training.parse_space(text) for text in self.drawn)

    @property
    def asked(self) -> dict[str, Any]:
        """What the finished search is known by."""
        recipe = dataclasses.asdict(self.recipe)
        drawn = {"recipe": recipe, "draw": self.drawn, "draws": self.draws}
        return {**self.about, **drawn, **self.more}

    @property
    def done(self) -> bool:
        """Whether it is finished."""
        return training.recall_search(self.folder, self.asked) is not None


def check_trainings(study: Study, cells: Sequence[Cell]) -> None:
    """Refuse what would fail after other trainings, as far as that can be known before them.

    What is finished is not looked at. The folders of the others must not hold trainings of other
    settings, and their models must be such as can be built and trained so.

    Raises:
        SettingsChangedError: there are such folders; the message has all of them.
        ValueError: see `training.check`.
        WeightsUnavailableError: initial weights cannot be had.
    """
    searches = {s.folder: s for s in map(study.search_for, _trained(cells)) if s and not s.done}
    changed = {
        search.folder: changed_search(
            search.folder, search.recipe, search.space, about=search.about
        )
        for search in searches.values()
    }
    everything = _trainings(study, cells)
    _tell_versions(study, everything)
    wanted = [each for each in everything if not study.recalled(each)]
    for each in wanted:
        # What a classifier's numbers will be is not known before they are searched for.
        if not (searches and each.stage == "classifier"):
            differ = changed_settings(each.folder, _settings(study, each))
            changed[each.folder] = [_told(each.stage, text) for text in differ]
    _refuse(study.out, changed)
    if wanted:  # much, where a figure is asked for before the table, or of a wrong folder
        more = ", plus those of searches" if searches else ""
        study.tell(f"trainings to run in {study.out}: {len(wanted)}{more}")
    _build(study, wanted)


def _trained(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells with a classifier."""
    return [cell for cell in cells if cell.method not in (FSL, CENTER)]


def _trainings(study: Study, cells: Sequence[Cell]) -> list[Training]:
    """Return the trainings that cells need, each once."""
    wanted = [study.supervised_for(cell) for cell in cells if cell.method == FSL]
    for cell in _trained(cells):
        classifier = study.classifier_for(cell)
        wanted.append(classifier)
        if cell.variant:
            wanted.append(study.fcam_for(cell, study.recalled(classifier)))
            if (wanted[-1].folder / BEST).exists() and not (classifier.folder / BEST).exists():
                names = [each.folder.relative_to(study.out) for each in (wanted[-1], classifier)]
                study.tell(
                    f"{names[0]} was trained on {names[1]}, which is gone. If training {names[1]} "
                    f"again gives another model, {names[0]} is refused; then remove it"
                )
    return [*{each.folder: each for each in wanted}.values()]


def _tell_versions(study: Study, wanted: Sequence[Training]) -> None:
    """Tell which trainings another version has made, as all that a table holds may depend on it."""
    others: dict[str, list[Path]] = {}
    for each in wanted:
        _, notes = read_settings(each.folder / ABOUT)
        made = notes.get("environment", {}).get("fcam_tf", fcam_tf.__version__)
        if made != fcam_tf.__version__:
            others.setdefault(made, []).append(each.folder.relative_to(study.out))
    for made, folders in others.items():
        study.tell(
            f"trained by fcam_tf {made}, and taken as they are: {listed(folders, 3)}; remove them "
            f"to train them with {fcam_tf.__version__}"
        )


def _settings(study: Study, wanted: Training) -> dict[str, Any]:
    """Return what the run of a training depends on, as far as it is known without a model."""
    splits = described_splits(study.splits(wanted))
    known = {"recipe": dataclasses.asdict(wanted.recipe), **splits}
    if wanted.stage != FSL:
        known["method"] = wanted.start.method
    if wanted.stage == "classifier":
        known |= study.named(wanted.start)
    return known


def _told(stage: str, text: str) -> str:
    """Say of a setting that differs whose it is, and no digest."""
    name, _, rest = text.partition(".")
    if rest.startswith("sha256 "):
        return f"{name} has other photos or labels"
    return f"{_WHOSE[stage]} {rest}" if name == "recipe" else text


def _refuse(out: Path, changed: Mapping[Path, Sequence[str]]) -> None:
    groups: dict[str, list[Path]] = {}
    for folder, what in changed.items():
        if what:
            groups.setdefault(", ".join(what), []).append(folder.relative_to(out))
    if groups:
        lines = [f"{listed(folders, 3)}: {what}" for what, folders in groups.items()]
        told = "\n  ".join([f"{out} holds results of other settings:", *lines])
        raise SettingsChangedError(f"{told}\n{_REMEDY}")


def _build(study: Study, wanted: Sequence[Training]) -> None:
    """Build each kind of model once, that of a backbone's first training with its weights."""
    seen: set[Any] = set()
    for each in wanted:
        start, recipe = each.start, dataclasses.asdict(each.recipe)
        numbers = {name: value for name, value in recipe.items() if name not in _NUMBERS}
        masks = recipe.get("loss", {}).get("masks", 0) > 0
        backbone = each.folder.parent.name
        key = (each.stage, backbone, start.method, masks, repr(numbers))
        if key in seen:
            continue
        loaded = backbone not in seen and each.stage != "fcam"
        seen |= {key, *([backbone] if each.stage != "fcam" else [])}
        keras.backend.clear_session()
        if not loaded:
            start = dataclasses.replace(start, weights="none", weights_identity=None)
        with training.told_by_stage(each.stage):
            training.check(start, each.recipe, study.splits(each))
