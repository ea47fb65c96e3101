// Names that the archive knows, offered while one is typed: /names is a public endpoint.
const PAUSE_MS = 150;
const root = document.body.dataset.root;
let pending, latest = 0;

document.addEventListener("input", (event) => {
  if (event.target.id !== "q") return;
  clearTimeout(pending);
  const text = event.target.value.trim();
  if (text.length < 2) return;
  pending = setTimeout(() => offer(text), PAUSE_MS);
});

async function offer(text) {
  const asked = ++latest;
  const answer = await fetch(`${root}/names?${new URLSearchParams({ prefix: text, most: "10" })}`).catch(() => null);
  if (!answer?.ok || asked !== latest) return;
  const places = await answer.json().catch(() => []); // the page may be left meanwhile
  document.getElementById("known").replaceChildren(...places.map((place) => {
    const option = document.createElement("option");
    option.value = place.name;
    option.label = place.source;
    return option;
  }));
}
