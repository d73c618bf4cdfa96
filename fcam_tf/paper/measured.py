"""The tables and figures that need no training, as files: what is counted, timed and simulated."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcam_tf.atomic import write_atomically, write_csv
from fcam_tf.data import Split
from fcam_tf.paper import architecture, downscale, peers, runtime
from fcam_tf.paper.figure_files import write_figure
from fcam_tf.paper.published import table
from fcam_tf.paper.writing import MISSING, Grid, latex, markdown


def table2(out: Path, backbones: Sequence[str], output_stride: int | None) -> list[Path]:
    """Write the decoder of each backbone, block by block, and its number of parameters.

    Beside it stand the channels that the paper prints.
    """
    printed = {line["backbone"]: line for line in table("table2")}
    found = [architecture.describe(name, output_stride=output_stride) for name in backbones]
    rows = [
        {
            "backbone": each.backbone,
            "block": block.name,
            "input": _shape(block.input),
            "doubled": "yes" if block.doubled else "no",
            "skip": _shape(block.skip),
            "output": _shape(block.output),
            "published channels": printed.get(each.backbone, {}).get(block.name) or MISSING,
            "parameters": block.parameters,
        }
        for each in found
        for block in each.blocks
    ]
    return _write(out, "table2", "The decoders as built, at 224x224 (Table 2)", rows)


def table4(
    out: Path,
    backbones: Sequence[str],
    output_stride: int | None,
    *,
    methods: Sequence[str],
    rounds: int,
    channels: int | None,
    note: Any,
) -> list[Path]:
    """Write parameters, feature maps, and the time of one map of each method, with what it is of.

    The methods of other libraries stand below ours, as far as they are installed. Each row is noted
    when it is measured. ``methods``, ``rounds`` and ``channels`` are those of `runtime.timings`; no
    methods are all. Beside them stand the numbers that the paper prints.
    """
    counts, times = [], []
    printed = {line["backbone"]: line for line in table("table4_counts")}
    if busy := runtime.busy():
        note(f"timed {busy}: do not compare these times with others")
    named = methods or tuple(runtime.ROWS)
    for backbone in backbones:
        found = architecture.describe(backbone, output_stride=output_stride)
        height, width, maps = found.top
        ours = {
            "#PCL": found.classifier,
            "#PDEC": found.decoder,
            "#NFM": maps,
            "SFM": f"{height}x{width}",
        }
        theirs = printed.get(backbone, {})
        theirs = {f"published {name}": theirs.get(name, MISSING) for name in ours}
        counts.append({"backbone": backbone, **ours, **theirs})
        shared: dict[str, Any] = {"output_stride": output_stride, "rounds": rounds}
        own = runtime.timings(backbone, named, channels=channels, **shared)
        for timing in itertools.chain(own, runtime.peer_timings(backbone, named, **shared)):
            row = _times(backbone, timing)
            note("  ".join(map(str, row.values())))
            times.append(row)
    if left_out := peers.missing(named):
        note(f"not installed, so not timed beside ours: {', '.join(left_out)}")
    where = f"{runtime.device()}{busy and f', {busy}'}"
    title = (
        f"Milliseconds for one map of 224x224, median of {rounds}, {where} (Table 4). "
        "Published: one measurement on a Tesla P100, for F-CAM with the forward pass, for the "
        "others without it, except Score-CAM, SS-CAM and IS-CAM, which need many forward passes."
    )
    return [
        *_write(out, "table4-counts", "Parameters and feature maps (Table 4)", counts),
        *_write(out, "table4", title, times),
    ]


def fig3(out: Path, split: Split, reached: Mapping[str, float] | None = None) -> list[Path]:
    """Write PxAP of the true masks scaled down and back up, as a table and a curve.

    ``reached`` is drawn beside it, see `downscale.draw_curve`.
    """
    rows = downscale.simulate(split)
    columns = [
        {
            "z": row.scale,
            "side": row.side,
            "PxAP": f"{row.pxap:.2f}",
            "PxAP, antialiased": f"{row.antialiased:.2f}",
        }
        for row in rows
    ]
    title = f"PxAP of the masks of {len(split)} photos, scaled down by z and back up (Figure 3)"
    return [
        *_write(out, "fig3", title, columns),
        *write_figure(downscale.draw_curve(rows, reached), out, "fig3"),
    ]


def fig4(out: Path, split: Split) -> list[Path]:
    """Write the strip of a photo's mask at each scale: of the first that has an object."""
    shown = downscale.first_with_object(split)
    return write_figure(downscale.draw_examples(split, shown), out, "fig4")


def _times(backbone: str, timing: runtime.Timing) -> dict[str, Any]:
    alone = MISSING if timing.map_ms is None else f"{timing.map_ms:.1f}"
    whole = f"{timing.whole_ms:.1f}{' (estimated)' if timing.estimated else ''}"
    ours = {"backbone": backbone, "method": timing.name, "map": alone, "with forward pass": whole}
    return {**ours, "published": _printed(backbone, timing)}


def _printed(backbone: str, timing: runtime.Timing) -> str:
    """Return what the paper prints for a row of ours."""
    if timing.name != runtime.ROWS[timing.method]:  # of another library
        return MISSING
    times = {(line["backbone"], line["method"]): line["milliseconds"] for line in table("table4")}
    return times.get((backbone, timing.method), MISSING)


def _shape(shape: Sequence[int] | None) -> str:
    return MISSING if shape is None else "x".join(map(str, shape))


def _write(out: Path, name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write rows of equal keys as CSV, Markdown and LaTeX."""
    grid = Grid(title, list(rows[0]), [[str(x) for x in row.values()] for row in rows], set())
    files = [out / f"{name}{ending}" for ending in (".csv", ".md", ".tex")]
    write_csv(files[0], rows)
    write_atomically(files[1], f"{markdown(grid)}\n".encode())
    write_atomically(files[2], f"{latex(grid)}\n".encode())
    return files
