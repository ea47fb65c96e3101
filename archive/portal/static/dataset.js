// A data set's page: its place on the sky, and its header, fetched from /headers and searched as one types.
import "./copy.js";
import { openSky } from "./sky.js";

const LEAST_FOV_DEG = 0.05;
const header = document.getElementById("header");
const element = document.getElementById("sky");

function cell(text, name = "td") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

async function showHeader() {
  const answer = await fetch(header.dataset.url, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const { hdus } = await answer.json();
  const cards = hdus.flatMap(({ index, cards }) => cards.map((card) => [index, ...card]));
  if (!cards.length) { document.getElementById("no-script").textContent = "It has none."; return; }
  const table = document.createElement("table");
  table.className = "data header";
  table.createTHead().insertRow().append(...["HDU", "Keyword", "Value", "Comment"].map((name) => {
    const head = cell(name, "th");
    head.scope = "col";
    return head;
  }));
  const body = table.createTBody();
  const lines = cards.map((card) => {
    const row = document.createElement("tr");
    row.append(...card.map((value) => cell(value === null ? "" : value === true ? "T" : value === false ? "F" : String(value))));
    return { row, text: card.join(" ").toLowerCase() };
  });
  body.append(...lines.map(({ row }) => row));
  const label = document.createElement("label");
  label.textContent = "Search in the header ";
  const input = document.createElement("input");
  input.type = "search";
  input.id = "card";
  input.placeholder = "EXPTIME";
  label.append(input);
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  count.className = "quiet";
  const told = (n) => { count.textContent = ` ${n} of ${lines.length} cards`; };
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const { row, text } of lines) {
      row.hidden = !words.every((word) => text.includes(word));
      n += row.hidden ? 0 : 1;
    }
    told(n);
  });
  told(lines.length);
  const scroll = document.createElement("div");
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", "Header cards");
  scroll.append(table);
  const line = document.createElement("p");
  line.append(label, count);
  header.append(line, scroll);
  document.getElementById("no-script").hidden = true;
}

async function showPlace() {
  const { region, ra, dec, fov } = document.getElementById("place").dataset;
  const at = { ra: Number(ra ?? 0), dec: Number(dec ?? 0) };
  const wanted = Math.min(Math.max(Number(fov) * 2, LEAST_FOV_DEG), 180);
  const sky = await openSky(element, { ...at, fov: ra === undefined ? 180 : wanted });
  sky.show([{ id: "this", region, ra: Number(ra), dec: Number(dec) }]);
  element.dataset.ready = "true";
}

await Promise.all([showHeader(), element ? showPlace() : null]);
