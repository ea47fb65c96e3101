// The search page stays where it is while its search changes: form, facets, order and pages fetch the same page from the
// server and put its parts in place. Without this script every one of them is an ordinary link or form.
import { copyButtons } from "./copy.js";
import { openSky, viewOf } from "./sky.js";

const root = document.body.dataset.root;
const found = document.getElementById("found");
const skyElement = document.getElementById("sky");
const here = () => location.pathname + location.search;
let sky, latest = 0, shown = here();

const degrees = (text) => (text === undefined ? NaN : Number(text));
const rows = () => [...found.querySelectorAll("tr[data-id]")].map((row) => (
  { id: row.dataset.id, region: row.dataset.region, ra: degrees(row.dataset.ra), dec: degrees(row.dataset.dec) }
));
const place = () => (found.dataset.ra === undefined ? null : {
  ra: Number(found.dataset.ra), dec: Number(found.dataset.dec), radius: Number(found.dataset.radius),
});
const rowOf = (id) => found.querySelector(`tr[data-id="${CSS.escape(id)}"]`);

async function go(url, { push = true } = {}) {
  const asked = ++latest;
  found.setAttribute("aria-busy", "true");
  const text = await fetch(url, { headers: { Accept: "text/html" } }).then((answer) => answer.text()).catch(() => null);
  if (asked !== latest) return; // a later click has overtaken this one
  if (text === null) {
    found.removeAttribute("aria-busy");
    for (const id of ["count", "told"]) document.getElementById(id).textContent = "The archive does not answer; try again.";
    return;
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.getElementById("found");
  if (!fresh) { location.assign(url); return; } // an error, which has a page of its own
  if (push) history.pushState(null, "", url);
  shown = here();
  for (const name of ["ra", "dec", "radius"]) {
    if (fresh.dataset[name] === undefined) delete found.dataset[name]; else found.dataset[name] = fresh.dataset[name];
  }
  const { id, dataset: { value } } = document.activeElement;
  const wasFound = found.contains(document.activeElement);
  const opened = new Map([...found.querySelectorAll("details")].map((each) => [each.querySelector("summary").textContent, each.open]));
  found.replaceChildren(...fresh.childNodes);
  for (const each of found.querySelectorAll("details")) each.open = opened.get(each.querySelector("summary").textContent) ?? each.open;
  document.getElementById("form").replaceChildren(...page.getElementById("form").childNodes);
  // The focus stays with what was worked; where that is gone, a page's link for one, it goes to where results begin.
  const facet = value && found.querySelector(`.facet[data-value="${CSS.escape(value)}"]`);
  (facet || (id && document.getElementById(id)) || (wasFound && document.getElementById("count")))?.focus?.();
  document.getElementById("told").textContent = document.getElementById("count").textContent;
  found.removeAttribute("aria-busy");
  copyButtons(found);
  if (sky) { sky.show(rows()); sky.goTo(viewOf(rows(), place())); }
}

function searchUrl(form) {
  const given = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim()) given.append(name, value);
  return `${root}/search?${given}`;
}

document.addEventListener("submit", (event) => {
  if (event.target.getAttribute("role") !== "search") return;
  event.preventDefault();
  go(searchUrl(event.target));
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("#found a");
  const isPlain = event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey);
  if (!link || !isPlain || new URL(link.href).pathname !== location.pathname) return;
  event.preventDefault();
  go(link.href);
});
document.addEventListener("keydown", (event) => { // what calls itself a checkbox is worked by the space bar too
  if (event.key === " " && event.target.classList?.contains("facet")) { event.preventDefault(); event.target.click(); }
});
addEventListener("popstate", () => { if (here() !== shown) go(location.href, { push: false }); }); // not for a mere #content

function mark(event, isMarked) {
  const row = event.target.closest?.("tr[data-id]");
  if (row) sky?.mark(row.dataset.id, isMarked);
}
for (const [name, isMarked] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]]) {
  found.addEventListener(name, (event) => mark(event, isMarked));
}

if (matchMedia("(max-width: 56rem)").matches) { // where facets stand above the results, they open when asked
  for (const each of found.querySelectorAll(".facets details:not(:has([aria-checked=true]))")) each.open = false;
}

if (skyElement) {
  sky = await openSky(skyElement, viewOf(rows(), place()));
  sky.show(rows());
  sky.onClick((id) => {
    for (const row of found.querySelectorAll("tr.chosen")) { row.classList.remove("chosen"); sky.mark(row.dataset.id, false); }
    rowOf(id)?.classList.add("chosen");
    rowOf(id)?.scrollIntoView({ block: "nearest" });
    sky.mark(id, true);
  });
  document.getElementById("here").addEventListener("click", () => {
    const { ra, dec, radius } = sky.shown;
    const form = document.querySelector("#form form");
    form.elements.q.value = `${ra.toFixed(5)} ${dec >= 0 ? "+" : ""}${dec.toFixed(5)}`;
    form.elements.radius.value = radius.toPrecision(3);
    form.requestSubmit();
  });
  skyElement.dataset.ready = "true";
}
