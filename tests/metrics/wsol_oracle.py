"""The benchmark's evaluation done the straightforward way: the oracle of our metrics.

One image at a time, one threshold at a time, contours traced by OpenCV, histograms by NumPy.
"""

import cv2
import numpy as np


def boxes_at(scoremap, threshold, multiple):
    """Boxes of one map at one relative threshold."""
    height, width = scoremap.shape
    grey = np.trunc(255 * scoremap).astype(np.uint8)
    _, binary = cv2.threshold(grey, int(threshold * grey.max()), 255, cv2.THRESH_BINARY)
    contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return np.zeros((1, 4), int)
    if not multiple:
        contours = [max(contours, key=cv2.contourArea)]
    rectangles = [cv2.boundingRect(contour) for contour in contours]
    return np.array(
        [(x, y, min(x + w, width - 1), min(y + h, height - 1)) for x, y, w, h in rectangles]
    )


def iou(a, b):
    """(n, m) intersection over union, pixel-inclusive."""
    ax0, ay0, ax1, ay1 = np.asarray(a).T[:, :, None]
    bx0, by0, bx1, by1 = np.asarray(b).T[:, None, :]
    width = np.maximum(0, np.minimum(ax1, bx1) - np.maximum(ax0, bx0) + 1)
    height = np.maximum(0, np.minimum(ay1, by1) - np.maximum(ay0, by0) + 1)
    shared = width * height
    area_a = (ax1 - ax0 + 1) * (ay1 - ay0 + 1)
    area_b = (bx1 - bx0 + 1) * (by1 - by0 + 1)
    return shared / (area_a + area_b - shared)


def best_iou_curve(scoremap, truth, thresholds, multiple):
    """Best IoU with any true box at each threshold."""
    found = [boxes_at(scoremap, threshold, multiple) for threshold in thresholds]
    ious = iou(np.concatenate(found), truth).max(axis=1)
    ends = np.cumsum([len(boxes) for boxes in found])
    return np.array([part.max() for part in np.split(ious, ends[:-1])])


def box_accuracy(scoremaps, truths, thresholds, multiple, iou_thresholds):
    """(IoU thresholds, thresholds) share of images that are right, in percent."""
    hits = np.zeros((len(iou_thresholds), len(thresholds)))
    for scoremap, truth in zip(scoremaps, truths, strict=True):
        curve = best_iou_curve(scoremap, truth, thresholds, multiple)
        hits += curve >= np.array(iou_thresholds)[:, None]
    return 100 * hits / len(scoremaps)


def greedy_iou(ious):
    """MaxBoxAccV3's matching of (predicted, true) IoUs: the value each true box ends up with."""
    ious = ious.copy()
    matched = np.zeros(ious.shape[1])
    for _ in range(min(ious.shape)):
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        matched[column] = max(ious[row, column], 0)
        ious[row] = -1
        ious[:, column] = -1
    return matched


def pxap(scoremaps, masks, thresholds):
    """Pixel average precision in percent: pixels above each threshold, counted one by one."""
    edges = [*thresholds, 1.0]
    true, false = np.zeros((2, len(edges)))
    for scoremap, mask in zip(scoremaps, masks, strict=True):
        for k, edge in enumerate(edges):
            above = scoremap >= edge
            true[k] += np.count_nonzero(above & (mask == 1))
            false[k] += np.count_nonzero(above & (mask == 0))
    return average_precision(true[::-1], false[::-1])


def pxap_histograms(scoremaps, masks, thresholds):
    """The same from two NumPy histograms per image, which is how the reference counts."""
    edges = np.append(thresholds, [1, 2, 3])
    true, false = np.zeros((2, len(edges) - 1))
    for scoremap, mask in zip(scoremaps, masks, strict=True):
        true += np.histogram(scoremap[mask == 1], edges)[0]
        false += np.histogram(scoremap[mask == 0], edges)[0]
    return average_precision(np.cumsum(true[::-1]), np.cumsum(false[::-1]))


def average_precision(true, false):
    """Percent, from counts above falling thresholds."""
    seen = true + false > 0
    precision, recall = true[seen] / (true + false)[seen], true[seen] / true[-1]
    return 100 * np.sum(precision * np.diff(recall, prepend=0))
