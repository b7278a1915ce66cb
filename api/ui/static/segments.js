"use strict";

// The builder of segments. The JSON in the form is what is saved; the builder reads it and writes it, and what is not
// understood here stays as it was written.
(() => {
  const form = document.getElementById("definition");
  const builder = document.getElementById("builder");
  if (!builder) return;
  const words = JSON.parse(builder.dataset.vocabulary);
  const text = document.getElementById("definition_json");
  const notBuilt = document.getElementById("not-built");
  const views = document.querySelector("[data-views]");
  let tree = null; // null: the JSON is not one that can be built

  // A number is kept as it was written, so that none loses digits: { number: "40" }.
  const isNumber = (value) => typeof value === "object" && value !== null && "number" in value;
  const numeric = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

  // ---- JSON to tree

  // parse reads JSON with its numbers as text.
  function parse(source) {
    return JSON.parse(source, (key, value, context) => (typeof value === "number" ? { number: context?.source ?? String(value) } : value));
  }

  const plain = (value) => ["string", "boolean"].includes(typeof value) || isNumber(value);

  function readNode(json) {
    if (typeof json !== "object" || json === null || Array.isArray(json) || isNumber(json)) throw new Error("a condition is an object.");
    if ("conditions" in json || "logic" in json) {
      only(json, "conditions", "logic");
      if (!Array.isArray(json.conditions) || json.conditions.length === 0) throw new Error("a group has a list of conditions.");
      const children = json.conditions.map(readNode);
      switch (json.logic ?? "AND") {
        case "AND": return { mode: "all", children };
        case "OR": return { mode: "any", children };
        case "NOT":
          if (children.length !== 1) throw new Error("NOT takes one condition.");
          return { mode: "none", children: children[0].mode === "any" ? children[0].children : children };
        default: throw new Error("logic is AND, OR or NOT.");
      }
    }
    return readCondition(json);
  }

  function only(json, ...keys) {
    const extra = Object.keys(json).find((key) => !keys.includes(key));
    if (extra) throw new Error(`“${extra}” is not known here.`);
  }

  function readCondition(json) {
    const { operator } = json;
    if (operator === "in_segment") {
      only(json, "operator", "value");
      return { subject: "segment", operator, value: isNumber(json.value) ? json.value.number : "" };
    }
    if ("campaign" in json) {
      only(json, "campaign", "operator", "value");
      if (!isNumber(json.campaign)) throw new Error("a campaign is named by its id.");
      return { subject: "campaign", campaign: json.campaign.number, operator: known(operator ?? "was"), value: json.value };
    }
    if ("field" in json) {
      only(json, "field", "operator", "value");
      const field = words.fields.find((f) => f.name === json.field);
      if (!field) throw new Error(`there is no field “${json.field}”.`);
      return { subject: `field ${json.field}`, operator: known(operator ?? field.operators[0]), value: readValue(json, operator ?? field.operators[0]) };
    }
    only(json, "attribute", "operator", "value");
    if (typeof json.attribute !== "string") throw new Error("an attribute is named by a text.");
    const op = known(operator ?? "equals");
    if (json.attribute === "consent_state") return { subject: "field consent_state", operator: op, value: readValue(json, op) };
    return { subject: "attribute", attribute: json.attribute, operator: op, value: readValue(json, op) };
  }

  function known(operator) {
    if (!(operator in words.operators)) throw new Error(`there is no operator “${operator}”.`);
    return operator;
  }

  function readValue(json, operator) {
    if (operator === "exists" && !("value" in json)) return true;
    if (words.operators[operator].takes === "list") {
      if (!Array.isArray(json.value) || !json.value.every(plain)) throw new Error(`${operator} takes a list.`);
      return json.value;
    }
    if (!plain(json.value)) throw new Error(`the value of ${json.attribute ?? json.field} is neither text, a number, true nor false.`);
    return json.value;
  }

  function readTree(source) {
    if (source.trim() === "") return { mode: "all", children: [] };
    const json = parse(source);
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("it is not a JSON object.");
    if (!["conditions", "logic", "attribute", "field", "campaign", "operator", "value"].some((key) => key in json)) {
      return { mode: "all", children: Object.entries(json).map(([attribute, value]) => readCondition({ attribute, value })) };
    }
    const node = readNode(json);
    return node.mode ? node : { mode: "all", children: [node] };
  }

  // ---- tree to JSON

  const literal = (value) => (isNumber(value) ? value.number : JSON.stringify(value));

  // write returns the JSON of a node, and notes which node of the builder each path of the JSON is.
  function write(node, indent, path, paths) {
    paths.set(path, node);
    const inner = `${indent}  `;
    if (!node.mode) return writeCondition(node);
    const group = (logic, nodes, at) => {
      const parts = nodes.map((child, i) => `${inner}  ${write(child, `${inner}  `, `${at}.conditions[${i}]`, paths)}`);
      return `{\n${inner}"logic": "${logic}",\n${inner}"conditions": [\n${parts.join(",\n")}\n${inner}]\n${indent}}`;
    };
    if (node.mode !== "none") return group(node.mode === "all" ? "AND" : "OR", node.children, path);
    if (node.children.length === 1) return group("NOT", node.children, path);
    const within = { mode: "any", children: node.children };
    return group("NOT", [within], path);
  }

  function writeCondition(node) {
    const parts = [];
    const [kind, field] = node.subject.split(" ");
    if (kind === "attribute") parts.push(`"attribute": ${JSON.stringify(node.attribute)}`);
    if (kind === "field") parts.push(`"field": ${JSON.stringify(field)}`);
    if (kind === "campaign") parts.push(`"campaign": ${numeric.test(node.campaign) ? node.campaign : "0"}`);
    parts.push(`"operator": ${JSON.stringify(node.operator)}`);
    if (kind === "segment") parts.push(`"value": ${numeric.test(node.value) ? node.value : "0"}`);
    else if (Array.isArray(node.value)) parts.push(`"value": [${node.value.map(literal).join(", ")}]`);
    else parts.push(`"value": ${literal(node.value)}`);
    return `{${parts.join(", ")}}`;
  }

  let paths = new Map();

  function writeTree() {
    paths = new Map();
    if (tree.children.length === 0) return "";
    if (tree.children.length === 1 && tree.mode !== "none") return write(tree.children[0], "", "definition_json", paths);
    return write(tree, "", "definition_json", paths);
  }

  // ---- the builder

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== undefined) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  function select(label, options, chosen, change) {
    const list = element("select", { class: "form-select", "aria-label": label, onchange: () => change(list.value) });
    const add = (to, { value, label: name }) => to.append(new Option(name, value, false, value === chosen));
    for (const option of options) {
      if (!option.options) {
        add(list, option);
        continue;
      }
      const group = element("optgroup", { label: option.label });
      option.options.forEach((o) => add(group, o));
      if (option.options.length) list.append(group);
    }
    // What is chosen is never another than what is shown: an unknown value has an option of its own.
    if (![...list.options].some((o) => o.value === chosen)) list.prepend(new Option(chosen === "" ? "Choose…" : `${chosen} (not known)`, chosen, true, true));
    list.value = chosen;
    return list;
  }

  function input(label, value, change, attributes = {}) {
    const box = element("input", { class: "form-control", type: "text", "aria-label": label, ...attributes, oninput: () => change(box.value) });
    box.value = value;
    return box;
  }

  const subjects = [
    { value: "attribute", label: "Attribute" },
    { label: "Known of everybody", options: words.fields.map((f) => ({ value: `field ${f.name}`, label: f.label })) },
    { label: "What happened", options: [{ value: "campaign", label: "Campaign" }] },
    { label: "Others", options: [{ value: "segment", label: "Is in the segment" }] },
  ];

  const fresh = () => ({ subject: "attribute", attribute: "", operator: "equals", value: "" });

  function operatorsOf(node) {
    const [kind, field] = node.subject.split(" ");
    if (kind === "attribute") return words.attribute_operators;
    if (kind === "field") return words.fields.find((f) => f.name === field).operators;
    return kind === "campaign" ? ["was", "was_not"] : ["in_segment"];
  }

  const attributeOf = (node) => (node.subject === "attribute" ? words.attributes.find((a) => a.name === node.attribute) : undefined);

  // The value that a condition begins with, of the type that its attribute has.
  function firstValue(node) {
    const types = attributeOf(node)?.types ?? [];
    switch (node.subject === "segment" ? "segment" : words.operators[node.operator].takes) {
      case "presence": return true;
      case "list": return [];
      case "span": return "7d";
      case "outcome": return words.outcomes[0].value;
      case "moment": return new Date().toISOString().slice(0, 10);
      case "order": return types.includes("string") && !types.includes("number") ? "" : { number: "0" };
      case "scalar":
        if (node.subject === "field consent_state") return "OPT_IN";
        if (types.includes("number") && !types.includes("string")) return { number: "0" };
        if (types.includes("boolean") && !types.includes("string")) return true;
        return "";
      default: return "";
    }
  }

  // keep returns the value where the operator can have it, else a first one.
  function keep(node, before) {
    const takes = words.operators[node.operator]?.takes;
    const was = words.operators[before]?.takes;
    if (takes === was) return node.value;
    if (takes === "list" && plain(node.value) && node.value !== "" && was === "scalar") return [node.value];
    if (was === "list" && takes === "scalar" && node.value.length) return node.value[0];
    if (["scalar", "text"].includes(takes) && typeof node.value === "string" && ["scalar", "text"].includes(was)) return node.value;
    return firstValue(node);
  }

  const kinds = [{ value: "text", label: "text" }, { value: "number", label: "number" }, { value: "boolean", label: "yes or no" }];
  const kindOf = (value) => (isNumber(value) ? "number" : typeof value === "boolean" ? "boolean" : "text");

  function cast(value, kind) {
    const shown = isNumber(value) ? value.number : String(value);
    if (kind === "number") return { number: numeric.test(shown) ? shown : "0" };
    if (kind === "boolean") return shown !== "false";
    return shown;
  }

  function numberBox(node, set) {
    const box = input("Number", node.number, (value) => {
      const good = numeric.test(value.trim());
      box.classList.toggle("is-invalid", !good);
      box.ariaInvalid = String(!good);
      if (good) set({ number: value.trim() });
    }, { inputmode: "decimal" });
    return box;
  }

  // Parts that edit a condition's value. set stores it without drawing anew, so that the focus stays; redraw does both.
  function valueParts(node, redraw) {
    const set = (value) => {
      node.value = value;
      changed();
    };
    const change = (value) => {
      set(value);
      redraw();
    };
    if (node.subject === "segment") return [select("Segment", words.segments, node.value, set)];
    if (node.subject === "campaign") return [select("Outcome", words.outcomes, node.value, set)];
    const { takes } = words.operators[node.operator];
    const known = attributeOf(node);
    const values = known?.values?.length ? suggest(known.values) : undefined;
    if (node.subject === "field consent_state") {
      if (takes === "list") return [checks("Consent", words.consents, node.value, set)];
      return [select("Consent", words.consents, node.value, set)];
    }
    if (node.subject === "field topics" && typeof node.value === "string") return [select("Topic", words.topics, node.value, set)];
    switch (takes) {
      case "presence":
        return [select("Presence", [{ value: "true", label: "yes" }, { value: "false", label: "no: it is missing" }], String(node.value), (v) => set(v === "true"))];
      case "span": {
        const [, count, unit] = /^([0-9]+)([mhdw])$/.exec(node.value) ?? [null, "7", "d"];
        let now = { count, unit };
        const both = () => set(`${now.count}${now.unit}`);
        return [
          input("How many", count, (v) => { now.count = v; both(); }, { type: "number", min: 1, max: 9999, class: "form-control short" }),
          select("Unit", [{ value: "m", label: "minutes" }, { value: "h", label: "hours" }, { value: "d", label: "days" }, { value: "w", label: "weeks" }], unit, (v) => { now.unit = v; both(); }),
        ];
      }
      case "moment": {
        const isDate = /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(node.value) || node.value === "";
        return [
          select("Kind of moment", [{ value: "date", label: "the day (UTC)" }, { value: "time", label: "the moment" }], isDate ? "date" : "time",
            (v) => change(v === "date" ? node.value.slice(0, 10) : `${node.value || new Date().toISOString().slice(0, 10)}T00:00:00Z`)),
          isDate ? input("Date", node.value, set, { type: "date" }) : input("Moment", node.value, set, { placeholder: "2026-03-01T09:30:00+05:30" }),
        ];
      }
      case "list": return [listBox(node, set, change, values)];
      case "text": return [input("Text", node.value, set, { list: values })];
    }
    if (node.subject.startsWith("field ")) return [input("Value", isNumber(node.value) ? node.value.number : node.value, set, fieldHints[node.subject] ?? {})];
    const kind = kindOf(node.value);
    const offered = takes === "order" ? kinds.slice(0, 2) : kinds;
    const parts = [select("Type of the value", offered, kind, (v) => change(cast(node.value, v)))];
    if (kind === "number") parts.push(numberBox(node.value, set));
    else if (kind === "boolean") parts.push(select("Value", [{ value: "true", label: "yes (true)" }, { value: "false", label: "no (false)" }], String(node.value), (v) => set(v === "true")));
    else parts.push(input("Text", node.value, set, { list: values }));
    return parts;
  }

  const fieldHints = {
    "field region": { placeholder: "LK", maxlength: 2 },
    "field calling_code": { placeholder: "94", inputmode: "numeric" },
    "field phone_number": { placeholder: "+9477", inputmode: "tel" },
  };

  function checks(label, options, chosen, set) {
    const boxes = options.map(({ value, label: name }) => {
      const box = element("input", { class: "form-check-input", type: "checkbox", value, onchange: () => set(boxes.filter((b) => b.box.checked).map((b) => b.box.value)) });
      box.checked = chosen.includes(value);
      return { box, part: element("label", { class: "form-check form-check-inline mb-0" }, box, element("span", { class: "form-check-label" }, name)) };
    });
    return element("div", { class: "wide-value", role: "group", "aria-label": label }, ...boxes.map((b) => b.part));
  }

  // A list is edited as chips; numbers among texts keep their type.
  function listBox(node, set, change, values) {
    const chips = node.value.map((value, i) => element("span", { class: "badge chip" }, isNumber(value) ? value.number : typeof value === "boolean" ? String(value) : value === "" ? "(empty text)" : value,
      element("button", { type: "button", class: "btn-close", "aria-label": `Take ${isNumber(value) ? value.number : value} out`, onclick: () => change(node.value.filter((_, at) => at !== i)) })));
    const numbers = node.value.length ? node.value.every(isNumber) : (attributeOf(node)?.types ?? []).join() === "number";
    const add = () => {
      const entered = box.value.split(",").map((v) => v.trim()).filter((v) => v !== "");
      if (!entered.length) return;
      change([...node.value, ...entered.map((v) => (numbers && numeric.test(v) ? { number: v } : v))]);
      focusWithin(node, ".chips input");
    };
    const box = input("Another value", "", () => {}, {
      list: values, placeholder: "Add, Enter", ...(fieldHints[node.subject] ? { inputmode: fieldHints[node.subject].inputmode } : {}),
      onkeydown: (event) => {
        if (event.key === "Enter" || event.key === ",") {
          event.preventDefault();
          add();
        }
      },
      onchange: add,
    });
    return element("div", { class: "chips form-control wide-value" }, ...chips, box);
  }

  function focusWithin(node, selector) {
    drawn.get(node)?.querySelector(selector)?.focus();
  }

  // Lists of values that inputs suggest, one for each set of values.
  const suggestions = new Map();
  function suggest(values) {
    const key = values.join("\n");
    if (!suggestions.has(key)) {
      const id = `values-${suggestions.size}`;
      document.body.append(element("datalist", { id }, ...values.map((v) => new Option(v, v))));
      suggestions.set(key, id);
    }
    return suggestions.get(key);
  }
  document.body.append(element("datalist", { id: "attribute-names" }, ...words.attributes.map((a) => new Option(a.name, a.name, false, false))));

  const drawn = new Map(); // what shows a node

  function icon(name) {
    const svg = document.querySelector("svg.icon use")?.closest("svg").cloneNode(true);
    if (!svg) return "";
    const use = svg.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${name}`));
    return svg;
  }

  function remove(label, click) {
    return element("button", { type: "button", class: "btn btn-icon btn-ghost-secondary remove", "aria-label": label, title: label, onclick: click }, icon("x") || "×");
  }

  function drawCondition(node, parent) {
    const redraw = () => {
      const shown = drawn.get(node);
      const made = drawCondition(node, parent);
      shown.replaceWith(made);
    };
    const parts = [select("What it is about", subjects, node.subject, (subject) => {
      node.subject = subject;
      node.operator = operatorsOf(node)[0];
      if (subject === "attribute") node.attribute ??= "";
      if (subject === "campaign") node.campaign = words.campaigns[0]?.value ?? "";
      node.value = subject === "segment" ? words.segments[0]?.value ?? "" : firstValue(node);
      changed();
      redraw();
      focusWithin(node, "select");
    })];
    if (node.subject === "attribute") {
      parts.push(input("Name of the attribute", node.attribute, (value) => {
        node.attribute = value.trim();
        changed();
      }, {
        list: "attribute-names", placeholder: "city", autocomplete: "off", spellcheck: "false",
        onchange: () => {
          // An attribute that is known decides the type of the first value.
          const types = attributeOf(node)?.types;
          if (types && (node.value === "" || isNumber(node.value) && node.value.number === "0")) node.value = firstValue(node);
          changed();
          // After the focus has moved on by itself.
          const next = document.activeElement?.getAttribute("aria-label");
          redraw();
          if (next) focusWithin(node, `[aria-label="${CSS.escape(next)}"]`);
        },
      }));
    }
    if (node.subject === "campaign") {
      parts.push(select("Campaign", words.campaigns, node.campaign, (value) => {
        node.campaign = value;
        changed();
      }));
    }
    if (node.subject !== "segment") {
      parts.push(select("Comparison", operatorsOf(node).map((value) => ({ value, label: words.operators[value].label })), node.operator, (operator) => {
        const before = node.operator;
        node.operator = operator;
        node.value = keep(node, before);
        changed();
        redraw();
        focusWithin(node, '[aria-label="Comparison"]');
      }));
    }
    const problem = element("p", { class: "invalid-feedback" });
    const made = element("li", { class: "condition" }, element("div", { class: "condition-parts" }, ...parts, element("div", { class: "value-parts" }, ...valueParts(node, redraw))),
      remove("Remove this condition", () => take(parent, node)), problem);
    drawn.set(node, made);
    return made;
  }

  function take(parent, node) {
    const at = parent.children.indexOf(node);
    parent.children.splice(at, 1);
    changed();
    draw();
    (drawn.get(parent.children[Math.min(at, parent.children.length - 1)]) ?? drawn.get(parent) ?? builder).querySelector("select, button")?.focus();
  }

  function drawGroup(node, parent, depth) {
    const add = (child, focus) => {
      node.children.push(child);
      changed();
      draw();
      focusWithin(child, focus);
    };
    const modes = [{ value: "all", label: "all of these" }, { value: "any", label: "any of these" }, { value: "none", label: "none of these" }];
    const head = element("div", { class: "group-head" }, parent ? "" : element("span", { class: "text-secondary" }, "They fit"),
      select("How the conditions are joined", modes, node.mode, (mode) => {
        node.mode = mode;
        drawn.get(node).dataset.mode = mode;
        changed();
      }));
    if (parent) head.append(remove("Remove this group", () => take(parent, node)));
    const list = element("ul", { class: "conditions" }, ...node.children.map((child) => (child.mode ? element("li", {}, drawGroup(child, node, depth + 1)) : drawCondition(child, node))));
    const buttons = element("div", { class: "btn-list" }, element("button", { type: "button", class: "btn btn-sm", onclick: () => add(fresh(), "input") }, icon("plus"), "Condition"));
    // A group that says "none" may be written as two levels.
    if (depth + 2 < words.max_depth) {
      buttons.append(element("button", { type: "button", class: "btn btn-sm", onclick: () => add({ mode: node.mode === "any" ? "all" : "any", children: [fresh()] }, "select") }, icon("plus"), "Group"));
    }
    if (!parent && words.segments.length) {
      const leaveOut = () => {
        const child = { mode: "none", children: [{ subject: "segment", operator: "in_segment", value: words.segments[0].value }] };
        if (node.mode === "all") {
          add(child, "select");
          return;
        }
        tree = { mode: "all", children: node.children.length ? [node, child] : [child] };
        changed();
        draw();
        focusWithin(child, "select");
      };
      buttons.append(element("button", { type: "button", class: "btn btn-sm", onclick: leaveOut }, icon("x"), "Leave out a segment"));
    }
    const made = element("div", { class: "group", role: "group", "aria-label": "Conditions", "data-mode": node.mode }, head, list, buttons);
    drawn.set(node, made);
    return made;
  }

  function draw() {
    drawn.clear();
    const made = drawGroup(tree, null, 1);
    if (tree.children.length === 0) made.querySelector("ul").replaceWith(element("p", { class: "text-secondary" }, "No condition yet. Nothing ever means everyone: add the first."));
    builder.replaceChildren(made);
  }

  // ---- the two views, and the count beside them

  function changed() {
    text.value = writeTree();
    count();
  }

  function read() {
    try {
      tree = readTree(text.value);
      notBuilt.hidden = true;
      writeTree();
      draw();
    } catch (error) {
      tree = null;
      notBuilt.querySelector("span").textContent = error instanceof SyntaxError ? "the JSON is not complete." : error.message;
    }
    show();
  }

  let view = "builder";
  function show() {
    const json = view === "json";
    document.getElementById("json").hidden = !json && tree !== null;
    builder.hidden = json || tree === null;
    notBuilt.hidden = tree !== null;
    for (const button of views.querySelectorAll("button")) {
      const on = button.dataset.view === view;
      button.classList.toggle("active", on);
      button.ariaPressed = String(on);
    }
  }
  views.addEventListener("click", (event) => {
    const button = event.target.closest("[data-view]");
    if (!button) return;
    view = button.dataset.view;
    show();
  });
  text.addEventListener("input", () => {
    read();
    count();
  });

  const selection = document.getElementById("selection");
  let asked = null;
  let timer;

  function count() {
    clearTimeout(timer);
    timer = setTimeout(ask, 400);
  }

  // A condition that is being begun is no mistake yet.
  const unfinished = (node) => (node.mode ? node.children.some(unfinished) : node.subject === "attribute" && node.attribute === "" || Array.isArray(node.value) && !node.value.length);

  async function ask() {
    asked?.abort();
    const mine = new AbortController();
    asked = mine;
    if (text.value.trim() === "" || tree && unfinished(tree)) {
      selection.ariaBusy = "false";
      return;
    }
    selection.ariaBusy = "true";
    try {
      const answer = await fetch("/segments/preview", { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "X-Part": "selection" }, signal: mine.signal });
      const type = answer.headers.get("Content-Type") ?? "";
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine.signal.aborted || !type.startsWith("text/html") || page.querySelector("main")) return;
      selection.replaceChildren(...page.body.children);
      blame();
      stale(false);
    } catch (error) {
      if (error.name !== "AbortError") stale(true);
    } finally {
      if (asked === mine) selection.ariaBusy = "false";
    }
  }

  function stale(yes) {
    document.getElementById("stale").hidden = !yes;
  }

  // What the server refuses is shown at its condition.
  function blame() {
    for (const part of builder.querySelectorAll(".condition")) {
      part.querySelector(".invalid-feedback").textContent = "";
      part.classList.remove("has-problem");
    }
    for (const item of document.querySelectorAll("#selection [data-field]")) {
      let path = item.dataset.field;
      while (path && !paths.has(path)) path = path.replace(/(\.[a-z_]+|\[[0-9]+\])$/, "") === path ? "" : path.replace(/(\.[a-z_]+|\[[0-9]+\])$/, "");
      const part = drawn.get(paths.get(path));
      if (!part?.matches(".condition")) continue;
      part.classList.add("has-problem");
      part.querySelector(".invalid-feedback").textContent = item.querySelector("span").textContent;
    }
  }

  views.hidden = false;
  form.querySelector("[data-count]").hidden = true; // it is counted as one edits
  read();
  if (text.value.trim() === "") {
    tree.children.push(fresh());
    draw();
    view = "builder";
    show();
  } else if (!document.querySelector("#selection [data-field]") && form.querySelector(".is-invalid") === null) {
    ask();
  }
  blame();
})();
