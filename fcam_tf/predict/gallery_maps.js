"use strict";
// Heat maps in 8 bits: what is above a threshold, its box and its outline. The rules are those of
// fcam_tf.localization, and the tests compare both.

/** Unpack a map of gallery_photo.packed; null stays null. */
async function unpackMap(stored) {
  if (!stored) return null;
  const bytes = Uint8Array.from(atob(stored.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const levels = new Uint8Array(await new Response(stream).arrayBuffer());
  const highest = levels.reduce((a, b) => Math.max(a, b), 0);
  return { w: stored.w, h: stored.h, peak: stored.peak, cut: stored.cut, levels, highest };
}

/** The level that a threshold in [0, 1] comes to; null is the one that was applied. */
function cutOf(map, threshold) {
  const cut = threshold === null ? map.cut : Math.floor(threshold * map.peak);
  return Math.max(0, Math.min(cut, map.highest - 1)); // the maximum itself is always object
}

/** The 8-connected regions above a level, in reading order; labels has their numbers from 1 on. */
function regionsAbove(map, cut) {
  const { w, h, levels } = map;
  const labels = new Int32Array(w * h);
  const regions = [];
  for (let start = 0; start < levels.length; start++) {
    if (levels[start] <= cut || labels[start]) continue;
    const region = { id: regions.length + 1, cut, labels, size: 0, x0: w, y0: h, x1: 0, y1: 0 };
    const waiting = [start];
    labels[start] = region.id;
    while (waiting.length) {
      const cell = waiting.pop();
      const x = cell % w;
      const y = (cell - x) / w;
      region.size++;
      region.x0 = Math.min(region.x0, x);
      region.y0 = Math.min(region.y0, y);
      region.x1 = Math.max(region.x1, x);
      region.y1 = Math.max(region.y1, y);
      for (let v = Math.max(0, y - 1); v <= Math.min(h - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(w - 1, x + 1); u++) {
          const near = v * w + u;
          if (levels[near] > cut && !labels[near]) {
            labels[near] = region.id;
            waiting.push(near);
          }
        }
      }
    }
    regions.push(region);
  }
  return regions;
}

/** The region with the most cells, the first one on ties; undefined where there is none. */
function largestRegion(regions) {
  return regions.reduce((best, each) => (best && best.size >= each.size ? best : each), undefined);
}

/** A region's box [x0, y0, x1, y1] in the photo's pixels, inclusive, as localization.scale_box. */
function boxOf(region, map, width, height) {
  return [
    Math.floor((region.x0 * width) / map.w),
    Math.floor((region.y0 * height) / map.h),
    Math.ceil(((region.x1 + 1) * width) / map.w) - 1,
    Math.ceil(((region.y1 + 1) * height) / map.h) - 1,
  ];
}

/** Intersection over union of two boxes, inclusive. */
function overlapOf(a, b) {
  const side = (low, high) => Math.max(0, high - low + 1);
  const area = (box) => side(box[0], box[2]) * side(box[1], box[3]);
  const both =
    side(Math.max(a[0], b[0]), Math.min(a[2], b[2])) *
    side(Math.max(a[1], b[1]), Math.min(a[3], b[3]));
  return both / (area(a) + area(b) - both);
}

/** The region that an object was found as, by its box. */
function regionFound(map, object, photo) {
  if (!object.box) return undefined;
  let best, most = 0;
  for (const region of regionsAbove(map, cutOf(map, null))) {
    const overlap = overlapOf(boxOf(region, map, photo.width, photo.height), object.box);
    if (overlap > most) [best, most] = [region, overlap];
  }
  return best;
}

/** The region of an object at a threshold; undefined where there is none.
 *
 * A class's only object is the largest region. One of several is the region around its own hottest
 * cell, so that it stays the same object when the threshold is moved.
 */
function regionAt(map, object, photo, threshold, alone) {
  if (threshold === null) return regionFound(map, object, photo);
  const regions = regionsAbove(map, cutOf(map, threshold));
  if (alone) return largestRegion(regions);
  const found = regionFound(map, object, photo);
  if (!found) return undefined;
  let hottest = -1;
  found.labels.forEach((label, cell) => {
    const higher = hottest < 0 || map.levels[cell] > map.levels[hottest];
    if (label === found.id && higher) hottest = cell;
  });
  return regions.find((region) => region.labels[hottest] === region.id);
}

// Of four neighbouring cells, 8 top left, 4 top right, 2 bottom right, 1 bottom left: which edges
// of their square an outline comes in and goes out by, with what is inside on its right.
const TURNS = [
  [], ["LB"], ["BR"], ["LR"], ["RT"], ["LT", "RB"], ["BT"], ["LT"],
  ["TL"], ["TB"], ["TR", "BL"], ["TR"], ["RL"], ["RB"], ["BL"], [],
];

/** The outlines of a region, rings of [x, y] in cells; clockwise, holes the other way.
 *
 * By marching squares between the cells' levels, as far as the edge of the map.
 */
function outlinesOf(region, map) {
  const { w, h, levels } = map;
  const level = region.cut + 0.5;
  const at = (x, y) => {
    if (x < 0 || y < 0 || x >= w || y >= h) return level - 1e-3;
    const value = levels[y * w + x];
    return region.labels[y * w + x] === region.id ? value : Math.min(value, region.cut);
  };
  const key = (x, y, down) => 2 * ((y + 1) * (w + 2) + x + 1) + down;
  const steps = new Map(); // from an edge to the next
  const points = new Map();
  const clamp = (value, most) => Math.max(0, Math.min(most, value));
  for (let y = region.y0 - 1; y <= region.y1; y++) {
    for (let x = region.x0 - 1; x <= region.x1; x++) {
      const corner = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)];
      const code = corner.reduce((sum, value) => 2 * sum + (value > level ? 1 : 0), 0);
      const edges = {
        T: [key(x, y, 0), 0, 1, x, y, 1, 0],
        B: [key(x, y + 1, 0), 3, 2, x, y + 1, 1, 0],
        L: [key(x, y, 1), 0, 3, x, y, 0, 1],
        R: [key(x + 1, y, 1), 1, 2, x + 1, y, 0, 1],
      };
      for (const turn of TURNS[code]) {
        const [start, a, b, u, v, right, down] = edges[turn[0]];
        const t = (level - corner[a]) / (corner[b] - corner[a]);
        points.set(start, [clamp(u + 0.5 + t * right, w), clamp(v + 0.5 + t * down, h)]);
        steps.set(start, edges[turn[1]][0]);
      }
    }
  }
  const rings = [];
  while (steps.size) {
    const ring = [];
    let edge = steps.keys().next().value;
    while (steps.has(edge)) {
      const next = steps.get(edge);
      ring.push(points.get(edge));
      steps.delete(edge);
      edge = next;
    }
    rings.push(ring);
  }
  return rings;
}

/** The area within a ring, negative for a hole. */
function ringArea(ring) {
  return ring.reduce((sum, [x, y], i) => {
    const [u, v] = ring[(i + 1) % ring.length];
    return sum + (x * v - u * y) / 2;
  }, 0);
}
