"""The convergence plot: losses and scores over the epochs (F-CAM, supplement, Fig. 9)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fcam_tf.atomic import write_atomically


def draw_convergence(
    history: Sequence[Mapping[str, float]], best: int | None, path: str | Path
) -> None:
    """Draw losses (left) and validation scores in percent (right) as a PNG file.

    ``history`` has rows of logs with "epoch", of which one may lack what others have; ``best`` is
    the row of the chosen epoch, which is marked.
    """
    names = list(dict.fromkeys(key for row in history for key in row))
    panels = {
        "Training loss": [n for n in names if n.endswith("loss") and not n.startswith("val_")],
        "Validation score [%]": [n for n in names if n.startswith("val_")],
    }
    shown = [(title, found) for title, found in panels.items() if found]
    figure = Figure(figsize=(6 * max(len(shown), 1), 3.6), layout="constrained")
    for number, (title, found) in enumerate(shown, 1):
        axis = figure.add_subplot(1, len(shown), number)
        for name in found:
            rows = [row for row in history if name in row]
            label = name.removeprefix("val_").removesuffix("_loss").replace("loss", "total")
            axis.plot(
                [row["epoch"] for row in rows],
                [row[name] for row in rows],
                marker="o" if len(rows) == 1 else None,
                label=label,
                linewidth=2 if name in ("loss", "val_PxAP") else 1.4,
            )
        if best is not None:
            epoch = history[best]["epoch"]
            axis.axvline(epoch, color="0.6", linewidth=1, linestyle="--", label=f"chosen: {epoch}")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(visible=True, alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        # Beside the curves, as there is no corner that they leave free in every run.
        axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(Path(path), buffer.getvalue())
