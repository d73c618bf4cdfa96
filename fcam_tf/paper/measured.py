"""The tables and figures that need no training, as files: what is counted, timed and simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from fcam_tf.atomic import write_atomically, write_csv
from fcam_tf.data import Split
from fcam_tf.paper import architecture, downscale, peers, runtime
from fcam_tf.paper.figure_files import write_figure
from fcam_tf.paper.kept import Kept
from fcam_tf.paper.published import table
from fcam_tf.paper.writing import MISSING, Grid, latex, markdown
from fcam_tf.training.run_folder import environment

_PAPERS_STRIDE = 8  # the default of the paper's backbones


def table2(out: Path, backbones: Sequence[str], output_stride: int | None) -> list[Path]:
    """Write the decoder of each backbone, block by block, and its number of parameters.

    Beside it stand the channels that the paper prints, see `_printed`.
    """
    printed = {line["backbone"]: line for line in _printed("table2", output_stride)}
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
    title = f"The decoders as built, at 224x224{_told(output_stride)} (Table 2)"
    return _write(out, "table2", title, rows)


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

    The methods of other libraries stand below ours, as far as they are installed and run. Each row
    is noted and kept when it is measured, so that after a stop only the others are. ``methods``,
    ``rounds`` and ``channels`` are those of `runtime.timings`; no methods are all. Beside them
    stand the numbers that the paper prints, see `_printed`.
    """
    counts, times = [], []
    printed = {line["backbone"]: line for line in _printed("table4_counts", output_stride)}
    published = {
        (line["backbone"], line["method"]): line["milliseconds"]
        for line in _printed("table4", output_stride)
    }
    if busy := runtime.busy():
        note(f"timed {busy}: do not compare these times with others")
    named = methods or tuple(runtime.ROWS)
    shared: dict[str, Any] = {"output_stride": output_stride, "rounds": rounds}
    where = runtime.device()
    kept = Kept(
        out / "table4-unfinished.jsonl",
        {**shared, "channels": channels, "device": where, **environment()},
    )
    busy = busy or kept.busy
    for backbone in backbones:
        found = architecture.describe(backbone, output_stride=output_stride)
        height, width, maps = found.top
        ours = {
            "#PCL": found.classifier,
            "#PDEC": found.decoder,
            "#NFM": maps,
            "SFM": f"{height}x{width}",
        }
        paper = printed.get(backbone, {})
        paper = {f"published {name}": paper.get(name, MISSING) for name in ours}
        counts.append({"backbone": backbone, **ours, **paper})
        rows = [timing for timing in kept.of(backbone) if timing.method in named]
        if rows:
            note(f"{backbone}: {len(rows)} of its rows were timed before the stop")
        names = {timing.name for timing in rows}
        left = [method for method in named if runtime.ROWS[method] not in names]
        own = runtime.timings(backbone, left, channels=channels, **shared)
        theirs = runtime.peer_timings(backbone, named, done=names, failed=note, **shared)
        for timing in chain(own, theirs):
            kept.add(backbone, timing, busy)
            rows.append(timing)
            note("  ".join(map(str, _times(backbone, timing, published).values())))
        rows.sort(key=lambda timing: timing.name != runtime.ROWS[timing.method])  # ours above
        times += [_times(backbone, timing, published) for timing in rows]
    if left_out := peers.missing(named):
        note(f"not installed, so not timed beside ours: {', '.join(left_out)}")
    stride = _told(output_stride)
    title = (
        f"Milliseconds for one map of 224x224{stride}, median of {rounds}, "
        f"{where}{busy and f', {busy}'} (Table 4). "
        "Published: one measurement on a Tesla P100, for F-CAM with the forward pass, for the "
        "others without it, except Score-CAM, SS-CAM and IS-CAM, which need many forward passes."
    )
    files = [
        *_write(out, "table4-counts", f"Parameters and feature maps{stride} (Table 4)", counts),
        *_write(out, "table4", title, times),
    ]
    kept.finish()
    return files


def fig3(
    out: Path, split: Split, reached: tuple[Mapping[str, float], str] = ({}, "")
) -> list[Path]:
    """Write PxAP of the true masks scaled down and back up, as a table and a curve.

    ``reached`` is drawn beside it, see `trained.reached`.
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
        *write_figure(downscale.draw_curve(rows, *reached), out, "fig3"),
    ]


def fig4(out: Path, split: Split) -> list[Path]:
    """Write the strip of a photo's mask at each scale: of the first that has an object."""
    shown = downscale.first_with_object(split)
    return write_figure(downscale.draw_examples(split, shown), out, "fig4")


def _times(
    backbone: str, timing: runtime.Timing, published: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    alone = MISSING if timing.map_ms is None else f"{timing.map_ms:.1f}"
    whole = f"{timing.whole_ms:.1f}{' (estimated)' if timing.estimated else ''}"
    row = {"backbone": backbone, "method": timing.name, "map": alone, "with forward pass": whole}
    own = timing.name == runtime.ROWS[timing.method]  # not of another library
    theirs = published.get((backbone, timing.method), MISSING) if own else MISSING
    return {**row, "published": theirs}


def _printed(name: str, output_stride: int | None) -> list[dict[str, str]]:
    """Return what the paper prints in a table: nothing beside networks of another stride."""
    return table(name) if output_stride in (None, _PAPERS_STRIDE) else []


def _told(output_stride: int | None) -> str:
    return "" if output_stride is None else f", output stride {output_stride}"


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
