// The page: which photos are shown in which order, keys, and what is saved.

const option = (id) => document.getElementById(id);
const CHUNK = 48; // cards that are made at once
const grid = option("cards");
const natural = new Intl.Collator(undefined, { numeric: true });
const visible = new Set(); // cards near the window, which are drawn
let shown = []; // photos that pass the filters, in order
let drawing = false;

function tell(text) {
  const warning = kept ? "" : "This browser keeps nothing here: save before you close the page.";
  option("message").textContent = [text, warning].filter(Boolean).join(" ");
}

/** Number a field's percent as a fraction; what is empty is no limit. */
function limit(id, otherwise) {
  const { value, valueAsNumber } = option(id);
  return value === "" || Number.isNaN(valueAsNumber) ? otherwise : valueAsNumber / 100;
}

/** The objects of a photo that pass the filters, with their classes. */
function passing(photo, wanted) {
  const text = [photo.name, ...photo.classes.map(({ name, caption }) => name ?? caption)];
  const searched = text.join("\n").toLowerCase();
  if (!wanted.words.every((word) => searched.includes(word))) return [];
  const within = (value, [low, high]) => low <= value && value <= high;
  return photo.classes.flatMap((found) =>
    found.objects
      .filter((object) => {
        const verdict = verdictOf(photo, object) || "open";
        return (
          (wanted.label === "" || String(found.label) === wanted.label) &&
          (wanted.verdict === "" || verdict === wanted.verdict) &&
          within(found.score, wanted.score) &&
          within(object.area, wanted.area)
        );
      })
      .map((object) => {
        return { photo, object, score: found.score, area: object.area, class: found.caption };
      }),
  );
}

/** What the filters ask for. */
function wantedNow() {
  return {
    words: option("search").value.toLowerCase().split(/\s+/).filter(Boolean),
    label: option("class").value,
    verdict: option("verdict").value,
    score: [limit("score-from", -Infinity), limit("score-to", Infinity)],
    area: [limit("area-from", -Infinity), limit("area-to", Infinity)],
  };
}

/** Choose and order the photos, and show the first of them. */
function filter() {
  const wanted = wantedNow();
  const order = option("order").value;
  const by = order.replace("-", "");
  const down = order.startsWith("-");
  const compare = (a, b) => {
    if (by === "name") return 0;
    const sign = by === "class" ? natural.compare(a.class, b.class) : a[by] - b[by];
    return down ? -sign : sign;
  };
  // Each photo stands where the first of its objects that pass does.
  const found = byName.map((photo) => passing(photo, wanted).sort(compare)[0]).filter(Boolean);
  shown = found.sort(compare).map(({ photo }) => photo); // stable: else by name
  for (const card of grid.children) observer.unobserve(card);
  visible.clear();
  grid.replaceChildren();
  addCards();
  count();
}

/** Make the next cards. */
function addCards() {
  const made = grid.children.length;
  for (const photo of shown.slice(made, made + CHUNK)) {
    const card = makeCard(photo);
    grid.append(card);
    updateCard(card);
    observer.observe(card);
  }
  if (!made && grid.firstElementChild) grid.firstElementChild.tabIndex = 0;
  option("more").hidden = grid.children.length === shown.length;
}

function count() {
  const verdicts = DATA.photos.flatMap(({ id }) =>
    Object.values(decided.photos[id]?.verdicts ?? {}),
  );
  const of = (verdict) => verdicts.filter((each) => each === verdict).length;
  const photos = `${shown.length} of ${DATA.photos.length} photos`;
  option("counts").textContent = `${photos} · ${of("accepted")} accepted · ${of("rejected")} rejected`;
  // Not `disabled`: that takes the focus from the button that was just used.
  option("undo").setAttribute("aria-disabled", String(!before.length));
  for (const id of ["save-coco", "save-csv"]) {
    option(id).setAttribute("aria-disabled", String(!of("accepted")));
  }
}

/** Show what was decided, on all cards; those out of sight are drawn when they come. */
function refresh() {
  const { threshold } = decided;
  if (threshold !== null) option("threshold").value = threshold;
  // What the slider says to who does not see the words beside it.
  const told = threshold === null ? "as localised" : threshold.toFixed(2);
  option("threshold").setAttribute("aria-valuetext", told);
  option("threshold-is").value = told;
  disable(option("as-localised"), threshold === null, option("threshold"));
  count();
  if (drawing) return; // one drawing for each picture that the screen shows
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    visible.forEach(updateCard);
  });
}

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      visible[isIntersecting ? "add" : "delete"](target);
      if (isIntersecting) updateCard(target);
    }
  },
  { rootMargin: "300px" },
);
new IntersectionObserver(
  (entries) => entries.some((entry) => entry.isIntersecting) && addCards(),
  { rootMargin: "1000px" },
).observe(option("more"));
option("more").addEventListener("click", () => {
  const made = grid.children.length;
  addCards();
  grid.children[made]?.focus(); // the button goes, or is below
});

// Filters.
const byName = [...DATA.photos].sort((a, b) => natural.compare(a.name, b.name));
const classes = new Map();
for (const { label, caption } of DATA.photos.flatMap((photo) => photo.classes)) {
  classes.set(label, { caption, photos: (classes.get(label)?.photos ?? 0) + 1 });
}
for (const [label, { caption, photos }] of [...classes].sort(([, a], [, b]) =>
  natural.compare(a.caption, b.caption),
)) {
  option("class").append(make("option", { value: label }, `${caption} (${photos})`));
}
option("filters").addEventListener("input", filter);
option("filters").addEventListener("submit", (event) => event.preventDefault());

// A button that can do nothing now does nothing, whoever listens to it.
document.addEventListener(
  "click",
  (event) => event.target.closest("[aria-disabled=true]") && event.stopImmediatePropagation(),
  true,
);

// What is drawn. A slider that is dragged is one step to undo.
let dragged = null;
function slide(slider, change) {
  if (dragged === slider) change();
  else decide(change);
  dragged = slider;
  keepDecided();
  refresh();
}
option("threshold").addEventListener("input", ({ target }) =>
  slide(target, () => (decided.threshold = target.valueAsNumber)),
);
document.addEventListener("change", () => (dragged = null));
option("as-localised").addEventListener("click", () => {
  decide(() => (decided.threshold = null));
  refresh();
});
for (const id of ["heat", "outline", "box"]) option(id).addEventListener("change", refresh);

// Cards.
grid.addEventListener("click", ({ target }) => {
  const card = target.closest("#cards > li");
  if (target.dataset.verdict) {
    const { object } = target.closest(".objects > li");
    judge(card.photo, [object], target.dataset.verdict);
  } else if (target.matches(".reset")) {
    decide(() => setThreshold(card.photo, null));
    refresh();
  }
});
grid.addEventListener("input", ({ target }) => {
  const { photo } = target.closest("#cards > li");
  slide(target, () => setThreshold(photo, target.valueAsNumber));
});
grid.addEventListener("focusin", ({ target }) => {
  grid.querySelector(":scope > [tabindex='0']")?.setAttribute("tabindex", "-1");
  target.closest("#cards > li").tabIndex = 0;
});

function objectsOf(photo) {
  return photo.classes.flatMap((found) => found.objects);
}

/** Give objects a verdict, or take it back where all have it. */
function judge(photo, objects, verdict) {
  const same = objects.every((object) => verdictOf(photo, object) === verdict);
  decide(() => objects.forEach((object) => setVerdict(photo, object, same ? "" : verdict)));
  tell("");
  refresh();
  return !same;
}

function acceptRest() {
  const wanted = wantedNow(); // of a photo, there may be others that do not pass
  const left = shown
    .flatMap((photo) => passing(photo, wanted))
    .filter(({ photo, object }) => object.box && !verdictOf(photo, object));
  decide(() => left.forEach(({ photo, object }) => setVerdict(photo, object, "accepted")));
  refresh();
  tell(`${left.length} accepted; undo takes it back.`);
}
option("accept-rest").addEventListener("click", acceptRest);

function takeBack() {
  undo();
  refresh();
  tell("");
}
option("undo").addEventListener("click", takeBack);

// Keys.
function goTo(card, by) {
  const wanted = [...grid.children].indexOf(card) + by;
  if (wanted >= grid.children.length) addCards();
  const next = grid.children[Math.max(0, Math.min(wanted, grid.children.length - 1))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

function moveThreshold(photo, by) {
  const now = thresholdOf(photo) ?? photo.classes[0].threshold;
  const next = Math.round(100 * Math.max(0, Math.min(1, now + by))) / 100;
  decide(() => setThreshold(photo, next));
  refresh();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input:not([type=range], [type=checkbox]), select");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const card = event.target.closest("#cards > li");
  const key = event.key.toLowerCase();
  const sliding = event.target.matches("input[type=range]") && key.startsWith("arrow");
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const steps = { arrowright: 1, j: 1, arrowleft: -1, k: -1, arrowdown: columns, arrowup: -columns };
  const verdict = { a: "accepted", r: "rejected" }[key];
  const moved = { "+": 0.02, "=": 0.02, "-": -0.02 }[key];
  if (key === "/") option("search").focus();
  else if (key === "u") takeBack();
  else if (!card || sliding) return;
  else if (steps[key]) goTo(card, steps[key]);
  else if (moved) moveThreshold(card.photo, moved);
  else if (key === "0") {
    decide(() => setThreshold(card.photo, null));
    refresh();
  } else if (verdict) {
    const line = event.target.closest(".objects > li");
    const all = judge(card.photo, line ? [line.object] : objectsOf(card.photo), verdict);
    if (all && !line) goTo(card, 1);
  } else return;
  event.preventDefault();
});

// Saving.
async function acceptedItems() {
  const items = [];
  let nowhere = 0;
  let joined = 0; // with another of the class, whose region is theirs at a lower threshold
  for (const photo of byName) {
    const verdicts = Object.values(decided.photos[photo.id]?.verdicts ?? {});
    if (!verdicts.includes("accepted")) continue;
    const threshold = thresholdOf(photo);
    const saved = new Set();
    for (const place of placesOf(photo, await mapsOf(photo), threshold)) {
      if (verdictOf(photo, place.object) !== "accepted") continue;
      const same = [place.found.label, place.region?.size, place.box].join();
      if (!place.box) nowhere++;
      else if (threshold !== null && place.region && saved.has(same)) joined++;
      else items.push(itemOf(photo, place, threshold));
      saved.add(same);
    }
  }
  return { items, nowhere, joined };
}

async function save(end) {
  tell("Collecting …");
  const { items, nowhere, joined } = await acceptedItems();
  const coco = end === "json";
  const text = coco ? JSON.stringify(asCoco(items, DATA.root)) : asCsv(items);
  saveText(text, `accepted.${end}`, coco ? "application/json" : "text/csv");
  const left = [
    nowhere && `; ${nowhere} left out, with nothing above the threshold`,
    joined && `; ${joined} left out, one with another object at this threshold`,
  ];
  tell(`${items.length} saved as accepted.${end}${left.filter(Boolean).join("")}.`);
}
option("save-coco").addEventListener("click", () => save("json"));
option("save-csv").addEventListener("click", () => save("csv"));

// Another tab, or another report of the same settings, has decided something.
window.addEventListener("storage", ({ key }) => {
  if (key !== STORE) return;
  readAgain();
  refresh();
});
// A page that the browser put aside and shows again was told nothing of it.
window.addEventListener("pageshow", ({ persisted }) => {
  if (!persisted || !kept) return;
  readAgain();
  refresh();
});
window.addEventListener("beforeunload", (event) => {
  if (!kept) event.preventDefault(); // the browser asks
});

option("threshold").value = 0.3;
filter();
refresh();
