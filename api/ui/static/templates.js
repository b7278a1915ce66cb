"use strict";

// The editor of templates: languages are added and taken away, placeholders suggested while one types, and what somebody
// gets is shown beside the text.
(() => {
  const form = document.getElementById("template");
  const languages = document.getElementById("languages");
  const preview = document.getElementById("preview");
  const names = [...form.querySelectorAll("[data-insert]")].map((button) => button.dataset.insert);
  let shown = ""; // the number of the language that is being written; "": the one that the person gets
  let next = 0; // of the names of a further language
  for (const box of languages.querySelectorAll("textarea")) {
    const at = /^variants\[([0-9]+)\]/.exec(box.name);
    if (at) next = Math.max(next, Number(at[1]) + 1);
  }

  // ---- languages

  form.querySelector("[data-more]").addEventListener("click", (event) => {
    event.preventDefault();
    const made = document.getElementById("language").content.firstElementChild.cloneNode(true);
    for (const part of made.querySelectorAll("[id], [for], [name]")) {
      for (const attribute of ["id", "for", "name"]) {
        if (part.hasAttribute(attribute)) part.setAttribute(attribute, part.getAttribute(attribute).replace(/^variants\[[0-9]+\]/, `variants[${next}]`));
      }
    }
    next++;
    languages.append(made);
    prepare(made);
    made.querySelector("input").focus();
  });

  languages.addEventListener("click", (event) => {
    const button = event.target.closest("[data-remove]");
    if (!button) return;
    button.closest("fieldset").remove();
    shown = "";
    form.querySelector("[data-more]").focus();
    later();
  });

  function prepare(part) {
    for (const button of part.querySelectorAll("[data-remove]")) button.hidden = false;
    for (const box of part.querySelectorAll("textarea")) offer(box);
    whatsApp();
  }

  const channel = document.getElementById("channel");
  function whatsApp() {
    for (const part of languages.querySelectorAll("[data-whatsapp]")) part.hidden = channel.value !== "whatsapp";
  }
  channel.addEventListener("change", whatsApp);

  // ---- placeholders

  let last = languages.querySelector("textarea"); // where a placeholder goes that is chosen from the list
  for (const hint of form.querySelectorAll("[data-insert-hint]")) hint.hidden = false;
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert]");
    if (!button) return;
    if (!last?.isConnected) last = languages.querySelector("textarea");
    last.focus();
    last.setRangeText(`{${button.dataset.insert}}`, last.selectionStart, last.selectionEnd, "end");
    last.dispatchEvent(new Event("input", { bubbles: true }));
  });

  // offer suggests the names that go on as the placeholder before the caret begins.
  function offer(box) {
    const list = document.createElement("ul");
    list.className = "dropdown-menu suggestions";
    list.id = `${box.id}-suggestions`;
    list.role = "listbox";
    list.ariaLabel = "Attributes";
    box.after(list);
    box.setAttribute("aria-controls", list.id);
    box.setAttribute("aria-autocomplete", "list");
    let fits = [];
    let at = 0;

    const begun = () => /\{([^{}\s]*)$/.exec(box.value.slice(0, box.selectionStart));
    const close = () => {
      fits = [];
      list.classList.remove("show");
      box.removeAttribute("aria-activedescendant");
    };
    const mark = () => {
      [...list.children].forEach((item, i) => {
        item.classList.toggle("active", i === at);
        item.ariaSelected = String(i === at);
      });
      box.setAttribute("aria-activedescendant", `${list.id}-${at}`);
      list.children[at].scrollIntoView({ block: "nearest" });
    };
    const put = (name) => {
      const start = box.selectionStart - begun()[1].length;
      const end = box.value[box.selectionStart] === "}" ? box.selectionStart + 1 : box.selectionStart;
      box.setRangeText(`${name}}`, start, end, "end");
      close();
      box.dispatchEvent(new Event("input", { bubbles: true }));
    };
    const look = () => {
      const start = begun();
      fits = start === null ? [] : names.filter((name) => name.toLowerCase().includes(start[1].toLowerCase())).slice(0, 8);
      if (!fits.length) {
        close();
        return;
      }
      at = 0;
      list.replaceChildren(...fits.map((name, i) => {
        const item = document.createElement("li");
        item.className = "dropdown-item";
        item.id = `${list.id}-${i}`;
        item.role = "option";
        item.textContent = name;
        item.addEventListener("mousedown", (event) => {
          event.preventDefault();
          put(name);
        });
        return item;
      }));
      list.classList.add("show");
      mark();
    };
    box.addEventListener("input", look);
    box.addEventListener("blur", close);
    box.addEventListener("focus", () => {
      last = box;
      show(box);
    });
    box.addEventListener("keydown", (event) => {
      if (!fits.length) return;
      switch (event.key) {
        case "ArrowDown": at = (at + 1) % fits.length; break;
        case "ArrowUp": at = (at + fits.length - 1) % fits.length; break;
        case "Enter": case "Tab": event.preventDefault(); put(fits[at]); return;
        case "Escape": close(); return;
        default: return;
      }
      event.preventDefault();
      mark();
    });
  }

  // ---- what somebody gets

  form.querySelector("[data-preview]").hidden = true; // it is shown as one writes
  const after = form.querySelector("[name=preview_after]");
  const other = form.querySelector("[data-next]");
  other.hidden = false;
  other.addEventListener("click", () => {
    form.querySelector("[name=preview_phone]").value = "";
    after.value = preview.querySelector("[data-person]")?.dataset.person ?? "";
    if (after.value === "0") after.value = "";
    later(0);
  });

  function show(box) {
    const at = [...languages.querySelectorAll("textarea")].indexOf(box) + 1;
    if (String(at) === shown) return;
    shown = String(at);
    later();
  }

  let timer;
  let asked = null;
  function later(wait = 250) {
    clearTimeout(timer);
    timer = setTimeout(ask, wait);
  }

  // The languages are named one after the other, however many were removed between them.
  function written() {
    const data = new URLSearchParams();
    const order = new Map();
    for (const [name, value] of new FormData(form)) {
      const parts = /^variants\[([0-9]+)\](.*)$/.exec(name);
      if (parts && !order.has(parts[1])) order.set(parts[1], order.size);
      data.append(parts ? `variants[${order.get(parts[1])}]${parts[2]}` : name, value);
    }
    data.set("show", shown);
    return data;
  }

  async function ask() {
    asked?.abort();
    const mine = new AbortController();
    asked = mine;
    if (languages.querySelector("textarea").value.trim() === "" && shown !== "" && shown === "1") return;
    preview.ariaBusy = "true";
    try {
      const answer = await fetch("/templates/preview", { method: "POST", body: written(), headers: { "X-Part": "preview" }, signal: mine.signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine.signal.aborted || !answer.ok || page.querySelector("main")) return;
      preview.replaceChildren(...page.body.children);
      document.getElementById("stale").hidden = true;
    } catch (error) {
      if (error.name !== "AbortError") document.getElementById("stale").hidden = false;
    } finally {
      if (asked === mine) preview.ariaBusy = "false";
    }
  }

  form.addEventListener("input", () => later());
  form.addEventListener("change", () => later());
  prepare(languages);
})();
