// Verdicts and thresholds: what the person decided, kept in the browser and undone step by step.

const DATA = JSON.parse(document.getElementById("data").textContent);
const STORE = `fcam ${DATA.key}`;
const STEPS = 50; // that can be undone
let decided = readDecided();
let kept = true; // whether the browser keeps it
const before = [];

/** {threshold, photos: {id: {threshold, verdicts: {number: "accepted" | "rejected"}}}}. */
function readDecided() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORE));
    if (stored?.photos) return stored;
  } catch {
    // Not allowed, or damaged.
  }
  return { threshold: null, photos: {} };
}

function keepDecided() {
  try {
    localStorage.setItem(STORE, JSON.stringify(decided));
    kept = true;
  } catch {
    kept = false;
    tell("");
  }
}

/** Change what was decided by a function, so that it can be undone. */
function decide(change) {
  before.push(JSON.stringify(decided));
  if (before.length > STEPS) before.shift();
  change();
  keepDecided();
}

/** Take over what was decided elsewhere. Steps from before it would take that back, too. */
function readAgain() {
  decided = readDecided();
  before.length = 0;
}

function undo() {
  if (!before.length) return;
  decided = JSON.parse(before.pop());
  keepDecided();
}

function verdictOf(photo, object) {
  return decided.photos[photo.id]?.verdicts?.[object.number] ?? "";
}

function setVerdict(photo, object, verdict) {
  const own = (decided.photos[photo.id] ??= {});
  own.verdicts = { ...own.verdicts, [object.number]: verdict };
  if (!verdict) delete own.verdicts[object.number];
}

/** A photo's own threshold, else that of all; null as localised. */
function thresholdOf(photo) {
  return decided.photos[photo.id]?.threshold ?? decided.threshold;
}

function setThreshold(photo, threshold) {
  const own = (decided.photos[photo.id] ??= {});
  own.threshold = threshold ?? undefined;
}
