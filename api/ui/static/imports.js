// Choosing a file to import: it can be dropped, its columns are shown, and it can be checked before it is taken in.
const form = document.getElementById("import");
const input = document.getElementById("file");
const drop = document.getElementById("drop");
const columns = document.getElementById("columns");
const check = document.getElementById("check");

const peeked = 256 * 1024; // bytes of a text file in which its columns are looked for

// A workbook has its sheet at its end: it is looked at whole.
function beginning(file) {
  if (/\.xlsx$/i.test(file.name) || file.size <= peeked) return file;
  return new File([file.slice(0, peeked)], file.name, { type: file.type });
}

async function send(address, body, place, failure) {
  place.ariaBusy = "true";
  try {
    const answer = await fetch(address, { method: "POST", body, headers: { "HX-Request": "true" } });
    if (!answer.ok) throw new Error(String(answer.status));
    place.innerHTML = await answer.text();
    window.htmx?.process(place);
  } catch {
    const text = document.createElement("p");
    text.className = "alert alert-danger";
    text.role = "alert";
    text.textContent = failure;
    place.replaceChildren(text);
  } finally {
    place.ariaBusy = "false";
  }
}

function showAttribute(row) {
  const needed = row.querySelector("[name=to]").value === "attribute";
  for (const cell of row.querySelectorAll("[data-of-attribute]")) cell.classList.toggle("unneeded", !needed);
}

let newest = 0;
async function look() {
  check.replaceChildren();
  columns.replaceChildren();
  const [file] = input.files;
  if (!file) return;
  const mine = ++newest;
  const place = document.createElement("div");
  const body = new FormData();
  body.append("file", beginning(file), file.name);
  await send("/imports/columns", body, place, "The file could not be looked at. It can be imported all the same: its columns keep their names.");
  if (mine !== newest) return;
  columns.replaceChildren(...place.childNodes);
  for (const row of columns.querySelectorAll("[data-column]")) showAttribute(row);
}

input.addEventListener("change", look);
columns.addEventListener("change", (event) => {
  const row = event.target.closest("[data-column]");
  if (row) showAttribute(row);
});

for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length === 0) return;
  const one = new DataTransfer();
  one.items.add(event.dataTransfer.files[0]);
  input.files = one.files;
  look();
});
// A file that misses the zone does not open in place of the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

form.addEventListener("submit", async (event) => {
  if (!event.submitter?.matches("[data-check]")) return;
  event.preventDefault();
  event.submitter.disabled = true;
  event.submitter.classList.add("btn-loading");
  await send("/imports/check", new FormData(form), check, "The file could not be checked. Try again.");
  event.submitter.disabled = false;
  event.submitter.classList.remove("btn-loading");
  check.scrollIntoView({ behavior: "smooth", block: "start" });
});

// Back in the history the browser may remember the file.
if (input.files.length > 0) look();
