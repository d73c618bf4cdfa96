"""How the cells of all tables are trained and scored: as ordinary runs, each in a folder."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import keras

import fcam_tf
from fcam_tf import baselines, data, evaluation, models, training
from fcam_tf.claim import made_and_locked
from fcam_tf.evaluation.evaluation import check_split
from fcam_tf.identity import saved_sha256, split_sha256, times_sha256, weights_identity
from fcam_tf.names import BASELINES, CENTER, FCAM_MAP, FSL, lookup
from fcam_tf.paper.cells import Cell
from fcam_tf.paper.planning import Search, Training, check_trainings
from fcam_tf.training.run_folder import TIMES
from fcam_tf.training.stages import STORED_BY

if TYPE_CHECKING:
    from rich.console import Console

    from fcam_tf.training import Recipe, RunFolder


def trained_for(method: str, select: str) -> str:
    """Return the method for which the classifier that another method explains is trained.

    The CAM methods do not change the training, but the epoch that is kept: `fit_classifier` selects
    by the method's own map, as the paper does. So one training serves them all where ``select`` is
    "accuracy", and else those whose maps are the same behind a linear head, as Grad-CAM's and
    XGrad-CAM's. Each other method, and each baseline, has a training of its own.
    """
    if method in BASELINES:
        return method
    if select == "accuracy":
        return "cam"
    return {"xgradcam": "gradcam"}.get(method, method)


@dataclasses.dataclass(frozen=True)
class Study:
    """What all cells of a table have in common.

    Under ``out``, for each backbone: ``METHOD-SEED`` (the run of a classifier, with its evaluations
    ``test-METHOD``), ``METHOD-SEED-VARIANT`` (the run of an F-CAM, with ``test``),
    ``fsl-SEED`` and ``search-METHOD``. Tables of the same folder share them. What is
    finished is recognised by recipe, data and model, and is not run again.

    Attributes:
        root: the data set.
        out: the folder.
        recipe: name or file of the recipe of all stages.
        classifier_set: KEY=VALUE of the classifiers' recipe. With ``draws``, "proxy=true" is for
            the search alone, as in the benchmark.
        fcam_set: KEY=VALUE of the F-CAMs' recipe. Those that are not about losses and stored maps
            are for full supervision, too.
        output_stride: of the backbones; None for their default.
        weights: initial ones: "imagenet", "none" or a file; or these by backbone, where those that
            are not named begin with "imagenet".
        draws: trainings of the search before those with the best numbers; 0 for no search.
        mirrored: share each batch among all GPUs.
        skip_broken: leave out photos that cannot be decoded.
        tell: is told what goes on, line by line.
        console: for the progress of evaluations; None shows none.
    """

    root: str
    out: Path
    recipe: str = "cub"
    classifier_set: tuple[str, ...] = ()
    fcam_set: tuple[str, ...] = ()
    output_stride: int | None = None
    weights: str | Mapping[str, str] = "imagenet"
    draws: int = 0
    mirrored: bool = False
    skip_broken: bool = False
    tell: Callable[[str], Any] = print
    console: Console | None = None

    def check(self, cells: Sequence[Cell]) -> None:
        """Refuse what would fail after hours: a recipe, or a split without what cells need.

        Raises:
            FileNotFoundError, ValueError: no such split, no ground truth, a wrong setting, photos
                that cannot be read (without ``skip_broken``).
            SettingsChangedError: ``out`` holds trainings of other settings.
            WeightsUnavailableError: initial weights cannot be had.
            OSError: the folder cannot be made.
        """
        for name in () if isinstance(self.weights, str) else self.weights:
            lookup(models.BACKBONES, name, "weights")
        check_split(data.load(self.root, "test"))
        self._check_val()  # before it is told what would happen without it
        _ = self._left_out  # refuses broken photos
        for stage in ("classifier", "fcam"):
            self._splits_and_recipe(stage)
        if any(cell.method == FSL for cell in cells):
            self._splits_and_recipe(FSL)
        for settings in dict.fromkeys(cell.settings for cell in cells):
            self._splits_and_recipe("fcam", settings)
        check_trainings(self, cells)
        self.out.mkdir(parents=True, exist_ok=True)

    def _check_val(self) -> None:
        try:
            val = data.load(self.root, "val")
        except FileNotFoundError:
            val = None
        if val is None or (val.boxes is None and val.masks is None):
            raise ValueError(
                f"{self.root} has no ground truth for val to choose epochs by: class folders have "
                "none; the benchmark's layout lists it in metadata/val/localization.txt"
            )

    def score(self, cell: Cell) -> evaluation.StoredEvaluation:
        """Train what a cell needs, as far as it is not there, and score it on the test split.

        Raises:
            FolderBusyError: another process is at it.
            SettingsChangedError: a folder holds a run of other settings.
            TrainingDivergedError: a loss was NaN or infinite.
        """
        if cell.method == CENTER:
            return self._center()
        if cell.method == FSL:
            run, method = self._trained(self.supervised_for(cell)), FCAM_MAP
        elif cell.variant:
            run, method = self.fcam(cell), FCAM_MAP
        else:
            run, method = self.classifier(cell), cell.method
        own = run.settings["stage"] == "classifier"
        out = run.folder / (f"test-{method}" if own else "test")
        with made_and_locked(run.folder, wait=False):  # before its settings are there to be seen
            return training.evaluated(
                run, self.root, method, out, console=self.console, left_out=self._left_out
            )

    def classifier(self, cell: Cell) -> RunFolder:
        """Train the classifier that a cell's method explains, see `trained_for`."""
        search = self.search_for(cell)
        if search and not search.done:
            self._search(search)
        return self._trained(self.classifier_for(cell))

    def fcam(self, cell: Cell) -> RunFolder:
        """Train the F-CAM of a cell, after its classifier."""
        return self._trained(self.fcam_for(cell, self.classifier(cell)))

    def classifier_for(self, cell: Cell) -> Training:
        """Return the training of a cell's classifier; by what its search has found, once it has."""
        _, recipe = self._splits_and_recipe("classifier")
        method = trained_for(cell.method, recipe.select)
        search = self.search_for(cell)
        if search and search.done:
            recipe = training.get("classifier", str(search.folder / "best.json"))
            recipe = recipe.changed(["proxy=false"])
        recipe = recipe.changed([f"seed={cell.seed}"])
        folder = self.out / cell.backbone / f"{method}-{cell.seed}"
        return Training("classifier", self._start(cell.backbone, method), recipe, folder)

    def fcam_for(self, cell: Cell, first: RunFolder | None) -> Training:
        """Return the training of a cell's F-CAM, on the run of its classifier, if that is done."""
        _, recipe = self._splits_and_recipe("fcam", cell.settings)
        name = f"{cell.method}-{cell.seed}"
        folder = self.out / cell.backbone / f"{name}-{quote(cell.variant, safe='+=, ')}"
        # Where a variant's maps are others, they are in its run.
        shared = getattr(recipe, "cams", None) == "stored" and self._stores_alike(recipe)
        start = dataclasses.replace(
            self._start(cell.backbone, cell.method),
            cams=folder.with_name(f"{name}-cams") if shared else None,
        )
        if first:
            start = dataclasses.replace(
                start,
                model=lambda: models.load(first.best),
                model_sha256=saved_sha256(first.best),
                output_stride=None,
                weights="imagenet",
                weights_identity=None,
            )
        recipe = recipe.changed([f"seed={cell.seed}"])
        return Training("fcam", start, recipe, folder)

    def _stores_alike(self, recipe: Recipe) -> bool:
        """Tell whether the maps that a recipe stores are those of the study's own recipe."""
        _, own = self._splits_and_recipe("fcam")
        return all(getattr(recipe, name) == getattr(own, name) for name in STORED_BY)

    def supervised_for(self, cell: Cell) -> Training:
        """Return the training of full supervision."""
        _, recipe = self._splits_and_recipe(FSL)
        recipe = recipe.changed([f"seed={cell.seed}"])
        folder = self.out / cell.backbone / f"{FSL}-{cell.seed}"
        return Training(FSL, self._start(cell.backbone, None), recipe, folder)

    def _center(self) -> evaluation.StoredEvaluation:
        settings = evaluation.EvaluationSettings(
            method=CENTER, data=data.absolute(self.root), split="test", left_out=self._left_out
        )
        folder = self.out / CENTER
        source: Any = evaluation.Center()
        with made_and_locked(folder, wait=False):
            return evaluation.Evaluation(source, settings, folder / "test").run()

    def _start(self, backbone: str, method: str | None) -> training.Start:
        given = self.weights
        if not isinstance(given, str):
            given = given.get(backbone, "imagenet")
        return training.Start(
            *(backbone, method, self.output_stride, given),
            mirrored=self.mirrored,
            weights_identity=self._identity_of(given),
        )

    def recalled(self, wanted: Training) -> RunFolder | None:
        """Return a training if it is finished, for which no model is needed."""
        return training.recall_run(wanted.folder, self._asked(wanted))

    def _asked(self, wanted: Training) -> dict[str, Any]:
        start = wanted.start
        named = isinstance(start.model, str)
        return {
            "stage": wanted.stage,
            "data": self._data_sha256,
            TIMES: self._times_sha256,
            **data.reduced_sha256(self.root),
            "method": start.method,
            "recipe": dataclasses.asdict(wanted.recipe),
            "backbone": start.model if named else None,
            "model_sha256": start.model_sha256,
            "output_stride": start.output_stride,
            "weights": start.weights_identity if named else None,
            "mirrored": start.mirrored,
            "version": fcam_tf.__version__,
        }

    def _trained(self, wanted: Training) -> RunFolder:
        """Train, or recall a finished training."""
        if run := self.recalled(wanted):
            return run
        folder = wanted.folder
        if folder in self._diverged:  # as others do that start from this model
            raise self._diverged[folder]
        self.tell(f"training {folder.relative_to(self.out)}")
        keras.backend.clear_session()
        try:
            return training.train(
                *(wanted.stage, wanted.start, wanted.recipe, self.splits(wanted), folder),
                asked=self._asked(wanted),
            )
        except training.TrainingDivergedError as error:
            self._diverged[folder] = error
            raise

    def search_for(self, cell: Cell) -> Search | None:
        """Return the search for the recipe of a cell's classifier, if there is one."""
        if not self.draws:
            return None
        _, recipe = self._splits_and_recipe("classifier")
        method = trained_for(cell.method, recipe.select)
        start = self._start(cell.backbone, method)
        about = {
            "data": self._data_sha256,
            "method": method,
            "backbone": cell.backbone,
            "output_stride": self.output_stride,
            "weights": start.weights_identity,
        }
        more = {"version": fcam_tf.__version__, **data.reduced_sha256(self.root)}
        more[TIMES] = self._times_sha256
        folder = self.out / cell.backbone / f"search-{method}"
        return Search(folder, start, recipe, self.draws, about, more)

    def _search(self, wanted: Search) -> None:
        """Find the recipe that localises best on val of those drawn at random."""
        method = str(wanted.start.method)
        training.search(
            lambda recipe, trial: self._trained(
                Training("classifier", wanted.start, recipe, trial)
            ),
            wanted.recipe,
            wanted.space,
            wanted.folder,
            draws=wanted.draws,
            about=wanted.about,
            asked=wanted.asked,
            check=lambda recipe: recipe.baseline and baselines.get(method, **recipe.baseline),
        )

    def named(self, start: training.Start) -> dict[str, Any]:
        """Return what the run of a backbone's classifier depends on for its start."""
        return {
            "backbone": start.model,
            "output_stride": start.output_stride,
            "weights": start.weights_identity,
        }

    def splits(self, wanted: Training) -> Any:
        """Return what trains, and what chooses the epoch."""
        return self._loaded(wanted.stage, wanted.recipe)[0]

    def _splits_and_recipe(self, stage: str, more: tuple[str, ...] = ()) -> tuple[Any, Recipe]:
        """Return what trains and what chooses, and the recipe of a stage without its seed."""
        settings = self.classifier_set if stage == "classifier" else self.fcam_set
        if stage == FSL:
            shared = {field.name for field in dataclasses.fields(training.Recipe)}
            settings = tuple(text for text in settings if text.partition("=")[0] in shared)
        if any(text.partition("=")[0] == "seed" for text in (*settings, *more)):
            raise ValueError(
                "`seed` is that of the cell, from 0 up: set their number with `seeds`."
            )
        recipe = training.recipe_of(stage, self.recipe, (*settings, *more))
        splits, select = self._loaded(stage, recipe)
        return splits, recipe.changed([f"select={select}"])

    def _loaded(self, stage: str, recipe: Recipe) -> tuple[Any, str]:
        names = ("val_fraction", "val_per_class", "proxy", "select")
        key = (stage, *(getattr(recipe, name) for name in names))
        if key not in self._cache:
            splits, chosen = training.load_splits(
                stage, self.root, recipe, self.tell, skip_broken=self.skip_broken
            )
            self._cache[key] = splits, chosen.select
        return self._cache[key]

    @functools.cached_property
    def _cache(self) -> dict[tuple[Any, ...], tuple[Any, str]]:
        return {}

    @functools.cached_property
    def _left_out(self) -> list[str]:
        """Names of the test photos that cannot be read; refused, unless they are to be left out."""
        split = data.load(self.root, "test")
        if self.skip_broken:
            return data.left_out(split, self.tell)
        if broken := data.broken_photos(split):
            raise data.DataError(broken, "leave them out with --skip-broken")
        return []

    @functools.cached_property
    def missing(self) -> list[Cell]:
        """The cells that tables and figures had to do without, as their trainings diverged."""
        return []

    @functools.cached_property
    def _diverged(self) -> dict[Path, training.TrainingDivergedError]:
        return {}

    @functools.cached_property
    def _data_sha256(self) -> str:
        return split_sha256(*(data.load(self.root, s) for s in ("train", "val")), sizes=True)

    @functools.cached_property
    def _times_sha256(self) -> str:
        return times_sha256(*(data.load(self.root, s) for s in ("train", "val")))

    def _identity_of(self, weights: str) -> str:
        if weights not in self._known:
            self._known[weights] = weights_identity(weights)
        return self._known[weights]

    @functools.cached_property
    def _known(self) -> dict[str, str]:
        return {}
