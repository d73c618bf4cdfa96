// A card for each photo: its picture with what is above the threshold, objects and buttons.

const maps = new Map(); // of a photo, by its key: a promise of its maps, one for each class
const arriving = new Map(); // those whose script is being read

/** What a script below report/ calls. A page may not read files beside it, only run them. */
function fcamMaps(id, stored) {
  arriving.get(id)?.(stored);
}

/** Promise a photo's maps, one for each class; null where there is none. */
function mapsOf(photo) {
  if (!maps.has(photo.id)) {
    const stored = photo.maps ? Promise.resolve(photo.maps) : readMaps(photo);
    maps.set(photo.id, stored.then((found) => Promise.all(found.map(unpackMap))));
  }
  return maps.get(photo.id);
}

function readMaps(photo) {
  return new Promise((resolve) => {
    const script = document.createElement("script");
    const none = () => resolve(photo.classes.map(() => null));
    arriving.set(photo.id, resolve);
    script.src = photo.script;
    script.onerror = none;
    script.onload = () => {
      script.remove();
      arriving.delete(photo.id);
      none(); // no more than a formality where the maps have come
    };
    document.head.append(script);
  });
}

/** Make an element; text never becomes markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function percent(fraction) {
  if (fraction > 0 && fraction < 0.0005) return "<0.1 %"; // is not nothing
  return `${(100 * fraction).toFixed(fraction < 0.1 ? 1 : 0)} %`;
}

/** Disable a button or enable it; where it has the focus, which it loses, another element gets it. */
function disable(button, off, next) {
  if (off && document.activeElement === button) next.focus();
  button.disabled = off;
}

/** Make a photo's card. */
function makeCard(photo) {
  const all = photo.classes.map(({ caption, score }) => `${caption} ${percent(score)}`);
  const ratio = photo.width / photo.height;
  const width = `width: ${100 * Math.max(0.05, Math.min(1, ratio / (4 / 3)))}%`;
  const view = make("div", { class: "photo", style: `${width}; aspect-ratio: ${ratio}` });
  if (photo.thumb) {
    const alt = `${photo.name}: ${all.join(", ")}`;
    view.append(make("img", { src: photo.thumb, alt, loading: "lazy", decoding: "async" }));
  } else {
    view.append(make("span", { class: "gone" }, "The photo is gone or has changed since."));
  }
  view.append(make("canvas", { "aria-hidden": "true" }));
  const link = photo.classes[0].link;
  const name = link ? make("a", { href: link, target: "_blank", rel: "noopener" }) : make("span");
  name.append(photo.name);
  const objects = make("ul", { class: "objects" });
  const count = photo.classes.reduce((sum, found) => sum + found.objects.length, 0);
  for (const found of photo.classes) {
    for (const object of found.objects) objects.append(makeObject(photo, found, object, count > 1));
  }
  const label = make("label", {}, "Threshold");
  const range = { type: "range", min: 0, max: 1, step: 0.01, class: "threshold" };
  const slider = make("input", { ...range, "aria-label": `Threshold of ${photo.name}` });
  // Not read aloud by itself: the slider of all photos changes it on each card.
  label.append(slider, make("output", { "aria-live": "off" }));
  const reset = make("button", { type: "button", class: "reset" }, "Reset");
  reset.setAttribute("aria-label", `Reset the threshold of ${photo.name}`);
  const own = make("div", { class: "own" }, label, reset);
  const card = make("li", { tabindex: -1, "aria-label": photo.name, "data-id": photo.id });
  card.append(make("div", { class: "frame" }, view), make("div", { class: "name" }, name));
  card.append(objects, own);
  card.photo = photo;
  return card;
}

function makeObject(photo, found, object, numbered) {
  const title = `${numbered ? `${object.number} · ` : ""}${found.caption}`;
  const what = make("span", { class: "what", title: found.name }, title);
  what.append(make("small"));
  const buttons = ["accepted", "rejected"].map((verdict) => {
    const [side, word] = verdict === "accepted" ? ["yes", "Accept"] : ["no", "Reject"];
    const text = { "aria-label": `${word} ${title} in ${photo.name}`, "data-verdict": verdict };
    return make("button", { type: "button", class: side, ...text }, word);
  });
  const group = make("span", { class: "verdict" }, ...buttons);
  const line = make("li", { "data-number": object.number }, what, group);
  Object.assign(line, { found, object });
  return line;
}

/** Show on a card what was decided, and draw what is above its threshold. */
async function updateCard(card) {
  const { photo } = card;
  const verdicts = new Set();
  for (const line of card.querySelectorAll(".objects > li")) {
    const verdict = verdictOf(photo, line.object);
    verdicts.add(verdict);
    for (const button of line.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
    }
  }
  card.className = verdicts.size === 1 ? [...verdicts][0] : "";
  const [range, shown] = [card.querySelector(".threshold"), card.querySelector("output")];
  const threshold = thresholdOf(photo);
  range.value = threshold ?? photo.classes[0].threshold;
  shown.value = Number(range.value).toFixed(2);
  disable(card.querySelector(".reset"), decided.photos[photo.id]?.threshold === undefined, range);
  const found = await mapsOf(photo);
  if (thresholdOf(photo) !== threshold) return; // moved since; that call draws
  range.disabled = !found.some(Boolean);
  const places = placesOf(photo, found, threshold);
  for (const line of card.querySelectorAll(".objects > li")) {
    const place = places.find((each) => each.object === line.object);
    const size = place.box ? `${percent(place.share)} of the photo` : "nothing here";
    line.querySelector("small").textContent = `score ${percent(line.found.score)} · ${size}`;
  }
  drawPlaces(card.querySelector("canvas"), photo, found, places);
}

/** Where each object of a photo is: {found, object, map, region, box, share}; box may be null. */
function placesOf(photo, found, threshold) {
  return photo.classes.flatMap((each, index) =>
    each.objects.map((object) => {
      const map = found[index];
      const at = map ? threshold : null; // without a map it stays where it was found
      const region = map && regionAt(map, object, photo, at, each.objects.length === 1);
      const moved = region ? boxOf(region, map, photo.width, photo.height) : null;
      const box = at === null ? object.box : moved;
      const share = at === null ? object.area : region ? region.size / (map.w * map.h) : 0;
      return { found: each, object, map, region, box, share };
    }),
  );
}

function drawPlaces(canvas, photo, found, places) {
  const scale = Math.min(2, window.devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  if (!width || !height) return;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (option("heat").checked) drawHeat(context, found);
  const stroke = (colour) => {
    for (const [style, line] of [["#000", 4], [colour, 2]]) {
      Object.assign(context, { strokeStyle: style, lineWidth: line * scale, lineJoin: "round" });
      context.stroke();
    }
  };
  for (const { map, region } of option("outline").checked ? places : []) {
    if (!region) continue;
    context.beginPath();
    for (const ring of outlinesOf(region, map)) {
      ring.forEach(([x, y], index) => {
        const point = [(x * width) / map.w, (y * height) / map.h];
        index ? context.lineTo(...point) : context.moveTo(...point);
      });
      context.closePath();
    }
    stroke("#4de1ff");
  }
  for (const { object, box } of option("box").checked ? places : []) {
    if (!box) continue;
    const [x, y] = [(box[0] * width) / photo.width, (box[1] * height) / photo.height];
    const right = ((box[2] + 1) * width) / photo.width;
    const bottom = ((box[3] + 1) * height) / photo.height;
    const rim = 1.5 * scale; // all of the line is seen at the edge of the photo
    context.beginPath();
    const inner = [right - x - 2 * rim, bottom - y - 2 * rim];
    context.rect(x + rim, y + rim, Math.max(1, inner[0]), Math.max(1, inner[1]));
    stroke("#fff");
    if (places.length > 1) {
      context.font = `600 ${13 * scale}px system-ui, sans-serif`;
      const text = String(object.number);
      context.fillStyle = "#141414";
      context.fillRect(x, y, context.measureText(text).width + 8 * scale, 18 * scale);
      context.fillStyle = "#fff";
      context.fillText(text, x + 4 * scale, y + 14 * scale);
    }
  }
}

/** Draw the hottest of a photo's maps at each place, in the colours of the overlays. */
function drawHeat(context, found) {
  const there = found.filter(Boolean);
  if (!there.length) return;
  const { w, h } = there[0];
  const image = new ImageData(w, h);
  for (let cell = 0; cell < w * h; cell++) {
    const level = Math.max(...there.map(({ levels }) => levels[cell]));
    image.data.set([...DATA.colours[level], 128], 4 * cell);
  }
  const small = Object.assign(document.createElement("canvas"), { width: w, height: h });
  small.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(small, 0, 0, context.canvas.width, context.canvas.height);
}
