// What is saved of the objects that were accepted: {photo, found, object, threshold, box, rings,
// area}, with box and rings in the photo's pixels.

/** Bring a region's outlines to the photo's pixels, without holes, within its box. */
function polygonsOf(region, map, photo, box) {
  const place = (value, scale, low, high) =>
    Math.round(10 * Math.max(low, Math.min(high + 1, value * scale))) / 10;
  return outlinesOf(region, map)
    .filter((ring) => ringArea(ring) > 0)
    .map((ring) =>
      ring.map(([x, y]) => [
        place(x, photo.width / map.w, box[0], box[2]),
        place(y, photo.height / map.h, box[1], box[3]),
      ]),
    )
    .filter((ring) => ring.length > 2 && ringArea(ring) > 0);
}

/** What is saved of an object and its place, see placesOf. */
function itemOf(photo, { found, object, map, region, box }, threshold) {
  let rings = region ? polygonsOf(region, map, photo, box) : [];
  if (!rings.length) {
    // Of a pixel, or without a map: readers of COCO fail on an object that has no polygon.
    const [left, top, right, bottom] = [box[0], box[1], box[2] + 1, box[3] + 1];
    rings = [[[left, top], [right, top], [right, bottom], [left, bottom]]];
  }
  const area = rings.reduce((sum, ring) => sum + ringArea(ring), 0);
  const applied = map ? threshold ?? found.threshold : found.threshold;
  return { photo, found, object, threshold: applied, box, rings, area: Math.round(area) };
}

/** Annotations as COCO has them; file names are relative to info.folder.
 *
 * A category's id is the class's number plus one, as in coco.json of --annotations.
 */
function asCoco(items, root) {
  const photos = [...new Set(items.map((item) => item.photo))];
  const names = new Map(items.map(({ found }) => [found.label, found.name ?? found.caption]));
  const categories = [...names].sort(([a], [b]) => a - b);
  return {
    info: { description: "objects accepted in a report of fcam localize", folder: root },
    images: photos.map((photo, index) => ({
      id: index + 1,
      file_name: photo.name,
      width: photo.width,
      height: photo.height,
    })),
    categories: categories.map(([label, name]) => ({ id: label + 1, name })),
    annotations: items.map(({ photo, found, box, rings, area, threshold }, index) => ({
      id: index + 1,
      image_id: photos.indexOf(photo) + 1,
      category_id: found.label + 1,
      bbox: [box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1],
      area,
      segmentation: rings.map((ring) => ring.flat()),
      iscrowd: 0,
      score: found.score,
      threshold,
    })),
  };
}

/** A table of boxes, [x0, y0, x1, y1] inclusive. */
function asCsv(items) {
  const cell = (value) => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const head = "file,width,height,object,label,label_name,score,x0,y0,x1,y1,threshold";
  const rows = items.map(({ photo, found, object, box, threshold }) => [
    ...[photo.name, photo.width, photo.height, object.number],
    ...[found.label, found.name ?? "", found.score, ...box, threshold],
  ]);
  return [head, ...rows.map((row) => row.map(cell).join(","))].join("\n") + "\n";
}

/** Let the browser save a text as a file. */
function saveText(text, file, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
