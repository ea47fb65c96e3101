// The query page: an editor that knows the archive's tables, and the answers of /tap, as any client gets them.
import { copyButtons } from "./copy.js";

const SHOWN_ROWS = 2000; // of an answer in the page; a download has them all
const PLOTTED_ROWS = 2000;
const WAIT_S = 20; // a request for a job's state is answered after this, or when the state changes
const TABLEDATA = "application/x-votable+xml;serialization=tabledata";
const KEYWORDS = `abs acos all and any as asc asin atan atan2 between both by case cast ceiling coalesce cos cross degrees desc
distinct else end except exists exp floor from full group having ilike in in_unit inner intersect is join left like log
log10 lower mod natural not null offset on or order outer pi power radians rand right round select sign sin sqrt tan then top
truncate union upper using when where with count sum avg min max`.replaceAll("\n", " ");
const GEOMETRY = "area box centroid circle contains coord1 coord2 coordsys distance intersects moc point polygon region";

const root = document.body.dataset.root;
const form = document.getElementById("ask");
const area = document.getElementById("adql");
const state = document.getElementById("state");
const problem = document.getElementById("problem");
const answer = document.getElementById("answer");
const plot = document.getElementById("plot");
const stop = document.getElementById("stop");
let editor = null, running = null, sky = null;

const text = () => (editor ? editor.state.doc.toString() : area.value);

// The editor

async function tables() {
  const query = "SELECT table_name, column_name, description FROM tap_schema.columns ORDER BY table_name, column_index";
  const document = await votable(await fetch(`${root}/tap/sync`, { method: "POST", body: asked(query, 1_000_000) }));
  const found = {};
  for (const [table, column, about] of document.rows) {
    (found[table] ??= []).push({ label: column, type: "property", detail: about });
  }
  return found;
}

async function openEditor() {
  const [state_, view, language, commands, autocomplete, sql] = await Promise.all([
    import("@codemirror/state"), import("@codemirror/view"), import("@codemirror/language"), import("@codemirror/commands"),
    import("@codemirror/autocomplete"), import("@codemirror/lang-sql"),
  ]);
  const adql = sql.SQLDialect.define({ keywords: KEYWORDS, builtin: GEOMETRY, types: "bigint char double integer real smallint timestamp varchar", doubleQuotedStrings: false });
  const setup = new state_.Compartment();
  const colours = language.HighlightStyle.define(await marks());
  editor = new view.EditorView({
    doc: area.value,
    parent: area.parentElement,
    extensions: [
      view.keymap.of([{ key: "Mod-Enter", run: () => { run(); return true; } }, ...autocomplete.completionKeymap, ...commands.historyKeymap, ...commands.defaultKeymap]),
      commands.history(), view.drawSelection(), view.lineNumbers(), view.EditorView.lineWrapping, autocomplete.autocompletion(),
      view.EditorView.contentAttributes.of({ "aria-label": "ADQL" }), language.syntaxHighlighting(colours),
      setup.of(sql.sql({ dialect: adql })),
      view.EditorView.updateListener.of((update) => { if (update.docChanged) { area.value = text(); showSnippets(); } }),
    ],
  });
  area.after(editor.dom);
  area.hidden = true;
  document.querySelector("label[for=adql]").hidden = true; // the editor has its own
  const schema = await tables();
  editor.dispatch({ effects: setup.reconfigure(sql.sql({ dialect: adql, schema, upperCaseKeywords: true })) });
  form.dataset.editor = "ready";
}

async function marks() {
  const { tags } = await import("@lezer/highlight");
  return [
    { tag: tags.keyword, class: "adql-keyword" }, { tag: [tags.string, tags.special(tags.string)], class: "adql-text" },
    { tag: tags.number, class: "adql-number" }, { tag: tags.comment, class: "adql-comment" },
    { tag: tags.standard(tags.name), class: "adql-function" },
  ];
}

function write(query) {
  if (editor) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: query } });
  else area.value = query;
  showSnippets();
}

// Asking

function asked(query, maxrec, more = {}) {
  return new URLSearchParams({ LANG: "ADQL", QUERY: query, MAXREC: maxrec, RESPONSEFORMAT: TABLEDATA, ...more });
}

// A VOTable as {fields, rows, overflow}; what the service calls an error is thrown, with its text.
async function votable(response) {
  const body = await response.text();
  const xml = new DOMParser().parseFromString(body, "text/xml");
  const infos = [...xml.querySelectorAll('INFO[name="QUERY_STATUS"]')];
  const status = infos.at(-1);
  if (!status) throw new Error(body.slice(0, 500) || `status ${response.status}`);
  if (status.getAttribute("value") === "ERROR") throw new Error(status.textContent.trimEnd());
  const fields = [...xml.querySelectorAll("FIELD")].map((field) => ({
    name: field.getAttribute("name"), unit: field.getAttribute("unit"), ucd: field.getAttribute("ucd") ?? "",
    isNumber: /^(short|int|long|float|double)$/.test(field.getAttribute("datatype")) && !field.getAttribute("arraysize"),
    about: field.querySelector("DESCRIPTION")?.textContent ?? "",
  }));
  const rows = [...xml.getElementsByTagName("TR")].map((row) => [...row.children].map((cell) => cell.textContent));
  return { fields, rows, overflow: status.getAttribute("value") === "OVERFLOW" };
}

async function begin(work) {
  running?.abort();
  const mine = running = new AbortController();
  problem.replaceChildren();
  stop.hidden = false;
  try {
    await work(mine);
  } catch (error) {
    if (mine.signal.aborted) { state.textContent = "Stopped."; return; }
    state.textContent = "";
    showProblem(error.message);
  } finally {
    if (running === mine) { running = null; stop.hidden = true; }
  }
}

const run = () => begin(async ({ signal }) => {
  const since = performance.now();
  state.textContent = "Running…";
  const response = await fetch(form.action, { method: "POST", body: asked(text(), form.elements.MAXREC.value), signal });
  show(await votable(response), since);
});

const runJob = () => begin(async (mine) => {
  const since = performance.now();
  const made = await fetch(`${root}/tap/async`, { method: "POST", body: asked(text(), form.elements.MAXREC.value, { PHASE: "RUN" }) });
  if (!made.ok) { await votable(made); return; }
  const job = made.url;
  mine.signal.addEventListener("abort", () => fetch(`${job}/phase`, { method: "POST", body: new URLSearchParams({ PHASE: "ABORT" }) }));
  for (let phase = "QUEUED"; ;) {
    const link = document.createElement("a");
    link.href = job;
    link.textContent = job.split("/").at(-1);
    state.replaceChildren("Job ", link, `: ${phase}`);
    if (phase === "COMPLETED") break;
    if (phase === "ERROR") { await votable(await fetch(`${job}/error`)); return; }
    if (!["PENDING", "QUEUED", "EXECUTING", "HELD", "SUSPENDED", "UNKNOWN"].includes(phase)) throw new Error(`The job is ${phase}.`);
    const answer = await fetch(`${job}?${new URLSearchParams({ WAIT: WAIT_S, PHASE: phase })}`, { signal: mine.signal });
    phase = new DOMParser().parseFromString(await answer.text(), "text/xml").getElementsByTagNameNS("*", "phase")[0].textContent;
  }
  show(await votable(await fetch(`${job}/results/result`, { signal: mine.signal })), since);
});

function showProblem(message) {
  const shown = document.createElement("pre");
  shown.textContent = message;
  problem.replaceChildren(shown);
  const place = /line (\d+), column (\d+)/.exec(message);
  if (place && editor && Number(place[1]) <= editor.state.doc.lines) {
    const line = editor.state.doc.line(Number(place[1]));
    editor.dispatch({ selection: { anchor: Math.min(line.from + Number(place[2]) - 1, line.to) }, scrollIntoView: true });
    editor.focus();
  }
}

// Showing

function show({ fields, rows, overflow }, since) {
  const seconds = ((performance.now() - since) / 1000).toFixed(2);
  const cut = rows.length > SHOWN_ROWS ? `, of which ${SHOWN_ROWS.toLocaleString("en")} are shown` : "";
  const more = overflow ? "; there are more: ask for more rows" : "";
  state.append(` ${rows.length.toLocaleString("en")} rows in ${seconds} s${cut}${more}`);
  if (state.textContent.startsWith("Running…")) state.textContent = state.textContent.replace("Running… ", "");
  showTable(fields, rows.slice(0, SHOWN_ROWS));
  showPlot(fields, rows.slice(0, PLOTTED_ROWS));
}

function showTable(fields, rows) {
  const table = document.createElement("table");
  const body = document.createElement("tbody");
  const fill = (order) => body.replaceChildren(...order.map((row) => {
    const line = document.createElement("tr");
    line.append(...row.map((value, at) => {
      const cell = document.createElement("td");
      if (fields[at].isNumber) cell.className = "number";
      if (/^https?:\/\//.test(value)) {
        const link = document.createElement("a");
        link.href = value;
        link.textContent = value;
        cell.append(link);
      } else cell.textContent = value;
      return cell;
    }));
    return line;
  }));
  const heads = fields.map((field, at) => {
    const head = document.createElement("th");
    head.scope = "col";
    head.title = field.about;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = field.unit ? `${field.name} [${field.unit}]` : field.name;
    button.addEventListener("click", () => {
      const isDown = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", isDown ? "descending" : "ascending");
      fill([...rows].sort((one, other) => (isDown ? -1 : 1) * compared(one[at], other[at], field.isNumber)));
    });
    head.append(button);
    return head;
  });
  const line = document.createElement("tr");
  line.append(...heads);
  table.createTHead().append(line);
  table.append(body);
  fill(rows);
  answer.replaceChildren(table);
  answer.hidden = false;
}

function compared(one, other, isNumber) {
  if (one === "" || other === "") return (one === "") - (other === "");
  return isNumber ? Number(one) - Number(other) : one.localeCompare(other);
}

async function showPlot(fields, rows) {
  const at = (ucd, name) => {
    const main = fields.findIndex((field) => field.ucd.startsWith(ucd));
    return main >= 0 ? main : fields.findIndex((field) => field.name.toLowerCase() === name);
  };
  const [ra, dec, region] = [at("pos.eq.ra", "ra"), at("pos.eq.dec", "dec"), fields.findIndex(({ name }) => name === "s_region")];
  const element = document.getElementById("sky");
  plot.hidden = !element || (region < 0 && (ra < 0 || dec < 0)) || !rows.length;
  if (plot.hidden) return;
  const places = rows.map((row, id) => ({
    id: String(id), region: region >= 0 ? row[region] : "", ra: ra >= 0 && row[ra] !== "" ? Number(row[ra]) : NaN,
    dec: dec >= 0 && row[dec] !== "" ? Number(row[dec]) : NaN,
  }));
  const { openSky, viewOf } = await import("./sky.js");
  const view = viewOf(places, null);
  sky ??= await openSky(element, view);
  sky.show(places);
  sky.goTo(view);
  element.dataset.ready = "true";
}

// As other programs ask it

function showSnippets() {
  const service = form.dataset.url;
  const quoted = `'${`QUERY=${text()}`.replaceAll("'", `'\\''`)}'`;
  const told = {
    pyvo: `import pyvo\n\ntap = pyvo.dal.TAPService(${JSON.stringify(service)})\nfound = tap.search(${JSON.stringify(text())})`,
    curl: `curl ${service}/sync -d LANG=ADQL -d FORMAT=csv --data-urlencode ${quoted}`,
    STILTS: `stilts tapquery tapurl=${service} adql=${quoted.replace("QUERY=", "")} ofmt=ascii`,
  };
  const place = document.getElementById("snippets");
  place.replaceChildren(...Object.entries(told).map(([title, code]) => {
    const box = document.createElement("div");
    box.className = "copyable";
    const head = document.createElement("h3");
    head.textContent = title;
    const pre = document.createElement("pre");
    pre.tabIndex = 0;
    const inner = document.createElement("code");
    inner.textContent = code;
    pre.append(inner);
    const copy = document.createElement("button");
    Object.assign(copy, { type: "button", className: "copy", textContent: "Copy", hidden: true });
    box.append(head, pre, copy);
    return box;
  }));
  copyButtons(place);
}

for (const [id, work] of [["run", run], ["run-async", runJob]]) {
  const button = document.getElementById(id);
  button.hidden = false;
  button.addEventListener("click", work);
}
stop.addEventListener("click", () => running?.abort());

// What /tap/examples has to offer (DALI 1.1 §2.3).
async function offerExamples() {
  const select = document.getElementById("example");
  const page = new DOMParser().parseFromString(await (await fetch(`${root}/tap/examples`)).text(), "text/html");
  for (const each of page.querySelectorAll('[typeof="example"]')) {
    const query = each.querySelector('[property="query"]')?.textContent;
    const name = each.querySelector('[property="name"]')?.textContent;
    if (query && name) select.append(new Option(name.trim(), query.trim()));
  }
}

document.getElementById("example").addEventListener("change", (event) => { if (event.target.value) write(event.target.value); });
area.addEventListener("input", showSnippets);
showSnippets();
await Promise.all([offerExamples(), document.querySelector('script[type="importmap"]') ? openEditor() : null]);
