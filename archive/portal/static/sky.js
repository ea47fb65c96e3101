// The sky: Aladin Lite over this archive's own HiPS. Nothing is asked of another host.
const LARGEST_DRAWN_DEG = 90; // a footprint beyond this is the whole sky, or nearly: no outline tells anything
const COLOURS = { plain: "#e0a43a", chosen: "#ff5a4d" };

// A whole address: a path alone Aladin takes for the name of a survey, and looks it up elsewhere.
const whole = (path) => new URL(path, location.href).href;

const vector = ({ ra, dec }) => {
  const [a, d] = [ra, dec].map((degrees) => degrees * Math.PI / 180);
  return [Math.cos(d) * Math.cos(a), Math.cos(d) * Math.sin(a), Math.sin(d)];
};
const dot = (one, other) => one.reduce((all, value, axis) => all + value * other[axis], 0);
const apart = (one, other) => Math.acos(Math.max(-1, Math.min(1, dot(one, other)))) * 180 / Math.PI;

// The survey to begin with: of those that hold the view's centre and are not much smaller than the view, the narrowest.
function closest(surveys, view) {
  const centre = vector(view);
  const holding = surveys.filter((each) => apart(vector(each), centre) <= each.fov / 2 && each.fov >= view.fov / 3);
  return holding.sort((one, other) => one.fov - other.fov)[0] ?? surveys[0];
}

export async function openSky(element, view) {
  const { default: A } = await import("./aladin.js");
  await A.init;
  const surveys = JSON.parse(element.dataset.surveys);
  // No HiPS: an empty list, for anything else that is nothing makes Aladin look for one.
  const base = closest(surveys, view);
  const aladin = A.aladin(element, {
    survey: base ? whole(base.path) : [], hipsList: surveys.map(({ path, title }) => ({ url: whole(path), id: whole(path), name: title })),
    target: `${view.ra} ${view.dec >= 0 ? "+" : ""}${view.dec}`, fov: view.fov, cooFrame: "ICRS", log: false, samp: false,
    projection: view.fov > 120 ? "AIT" : "TAN", backgroundColor: "rgb(14, 18, 24)",
    showReticle: false, showLayersControl: false, showShareControl: false, showSimbadPointerControl: false,
    showSettingsControl: false, showProjectionControl: false, showFullscreenControl: true, showCooGridControl: true,
    showContextMenu: false, showCooLocation: true, showFrame: false, showFov: true,
  });
  const select = element.parentElement.querySelector("select");
  if (base) select.value = base.path;
  select?.addEventListener("change", () => {
    if (select.value) aladin.setImageSurvey(whole(select.value));
    else aladin.removeImageLayer("base");
  });
  return new Sky(A, aladin, element);
}

class Sky {
  #A; #aladin; #element; #overlay; #shapes = new Map(); #ids = new Map();

  constructor(A, aladin, element) {
    this.#A = A;
    this.#aladin = aladin;
    this.#element = element;
    this.#overlay = A.graphicOverlay({ name: "footprints", color: COLOURS.plain, lineWidth: 2 });
    aladin.addOverlay(this.#overlay);
  }

  // rows: [{id, region (STC-S), ra, dec}]; what has no outline to draw is a small circle at its place.
  show(rows) {
    this.#overlay.removeAll();
    this.#shapes.clear();
    this.#ids.clear();
    for (const row of rows) {
      const shapes = this.#drawn(row);
      if (!shapes.length) continue;
      this.#overlay.addFootprints(shapes);
      this.#shapes.set(row.id, shapes);
      for (const shape of shapes) this.#ids.set(shape, row.id);
    }
    this.#element.dataset.shown = this.#shapes.size;
  }

  #drawn({ region, ra, dec }) {
    const words = region.split(/\s+/);
    const isWide = words[0].toUpperCase() === "CIRCLE" && Number(words.at(-1)) > LARGEST_DRAWN_DEG;
    if (region && !isWide && !words[0].toUpperCase().startsWith("POSITION")) return this.#A.footprintsFromSTCS(region);
    if (isWide || !Number.isFinite(ra)) return [];
    return [this.#A.circle(ra, dec, 0.02, { color: COLOURS.plain })];
  }

  mark(id, isMarked) {
    for (const shape of this.#shapes.get(id) ?? []) {
      shape.setColor(isMarked ? COLOURS.chosen : COLOURS.plain);
      shape.setLineWidth?.(isMarked ? 4 : 2);
    }
  }

  // told: called with the id of the footprint that was clicked.
  onClick(told) {
    const tell = (object) => { const id = this.#ids.get(object); if (id !== undefined) told(id); };
    this.#aladin.on("footprintClicked", tell);
    this.#aladin.on("objectClicked", tell);
  }

  goTo({ ra, dec, fov }) {
    this.#aladin.gotoRaDec(ra, dec);
    this.#aladin.setFoV(fov);
  }

  // What the map shows: its centre and half its larger side, ICRS degrees.
  get shown() {
    const [ra, dec] = this.#aladin.getRaDec();
    return { ra, dec, radius: Math.min(Math.max(...this.#aladin.getFov()) / 2, 180) };
  }
}

// A view that holds what was found: around a place, or around all positions, or the whole sky.
export function viewOf(rows, place) {
  if (place) return { ra: place.ra, dec: place.dec, fov: Math.min(place.radius * 2.6, 180) };
  const vectors = rows.filter(({ ra }) => Number.isFinite(ra)).map(vector);
  const sum = vectors.reduce((all, one) => all.map((value, axis) => value + one[axis]), [0, 0, 0]);
  const length = Math.hypot(...sum);
  if (!vectors.length || length / vectors.length < 0.5) return { ra: 0, dec: 0, fov: 360 };
  const middle = sum.map((value) => value / length);
  const widest = Math.max(...vectors.map((one) => apart(one, middle)));
  const [ra, dec] = [Math.atan2(middle[1], middle[0]), Math.asin(middle[2])].map((angle) => angle * 180 / Math.PI);
  return { ra: (ra + 360) % 360, dec, fov: Math.min(Math.max(widest * 2.6, 0.5), 180) };
}
