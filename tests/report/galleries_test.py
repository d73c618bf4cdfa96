import numpy as np

from fcam_tf.evaluation.rows import FOUND
from fcam_tf.report import galleries


def shown(gallery):
    return [card.name for card in gallery.cards]


def test_best_and_worst_are_those_of_the_table(finished):
    sample, best, worst = galleries.galleries(finished)
    rows = sorted(finished.rows, key=lambda row: row.quality)
    quality = {row.id: row.quality for row in rows}
    assert [quality[name] for name in shown(worst)] == [row.quality for row in rows[:6]]
    assert [quality[name] for name in shown(best)] == [row.quality for row in rows[::-1][:6]]
    assert len(set(shown(sample))) == 12
    assert shown(sample) == shown(galleries.galleries(finished)[0])


def test_failures_are_grouped_by_kind(finished):
    kinds = {row.id: row.kind for row in finished.rows}
    found = galleries.failures(finished)
    assert sum(gallery.count for gallery in found) == sum(k != FOUND for k in kinds.values())
    for gallery in found:
        assert {kinds[name] for name in shown(gallery)} == {gallery.title.lower()}
        assert not any(view.good for card in gallery.cards for view in card.views)


def test_gains_and_losses(finished, perfect):
    up, down = galleries.changes(perfect, finished)
    gain = {a.id: a.quality - b.quality for a, b in zip(perfect.rows, finished.rows, strict=True)}
    assert up.count == sum(value > 0 for value in gain.values())
    assert down.count == sum(value < 0 for value in gain.values())
    values = [gain[name] for name in shown(up)]
    assert values == sorted(gain.values(), reverse=True)[: len(values)]
    assert [view.title for view in up.cards[0].views] == ["truth", "center"]


def test_iou_is_cut_off_not_rounded(finished):
    names = {row.id: row for row in finished.rows}
    for card in galleries.galleries(finished)[0].cards:
        row = names[card.name]
        assert f"box IoU {np.floor(100 * row.iou) / 100:.2f}" in card.views[0].verdict
