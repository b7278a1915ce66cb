// The names of countries in the viewer's language, and the rows of the editor of attributes.
const countries = new Intl.DisplayNames(undefined, { type: "region", fallback: "code" });

function nameCountries(within) {
  for (const element of within.querySelectorAll("[data-country]")) element.textContent = countries.of(element.dataset.country);
}

nameCountries(document);
document.addEventListener("htmx:after:swap", () => nameCountries(document));

for (const editor of document.querySelectorAll("[data-attributes]")) {
  const rows = editor.querySelector("[data-rows]");
  const add = editor.querySelector("[data-add]");
  const blank = editor.querySelector("[data-blank]");

  function prepare(row) {
    const remove = row.querySelector("[data-remove]");
    remove.hidden = false;
    remove.addEventListener("click", () => {
      row.remove();
      add.focus();
    });
    const value = row.querySelector("textarea");
    const fit = () => { value.rows = Math.min(12, value.value.split("\n").length); };
    value.addEventListener("input", fit);
    fit();
  }

  // Spare rows are for pages without scripts: here there is a button.
  for (const row of rows.children) {
    prepare(row);
    if (!row.querySelector("[name=attribute]").value && !row.querySelector("textarea").value) row.dataset.spare = "yes";
  }
  for (const row of rows.querySelectorAll("[data-spare]")) row.remove();

  add.hidden = false;
  add.addEventListener("click", () => {
    rows.append(blank.content.cloneNode(true));
    prepare(rows.lastElementChild);
    rows.lastElementChild.querySelector("[name=attribute]").focus();
  });
}
