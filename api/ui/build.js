// Copies what the pages need of the pinned packages into static/vendor, each file beside its licence. The server
// embeds that folder; without it the pages fall back on static/app.css alone.
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "static", "vendor");
const wanted = [
  { name: "@tabler/core", file: "dist/css/tabler.min.css" },
  { name: "htmx.org", file: "dist/htmx.min.js" },
  { name: "htmx.org", file: "dist/ext/hx-sse.min.js" },
  { name: "chart.js", file: "dist/chart.umd.min.js" },
];

// The drawings that {{template "icon" "name"}} can show, by their names at https://tabler.io/icons.
const icons = [
  "alert-triangle",
  "chart-bar",
  "check",
  "chevron-right",
  "copy",
  "device-mobile",
  "device-desktop",
  "download",
  "file-off",
  "file-text",
  "home",
  "lock",
  "menu-2",
  "message-2",
  "moon",
  "plus",
  "search",
  "send",
  "settings",
  "sun",
  "trash",
  "upload",
  "users",
  "users-group",
  "x",
];

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
const notices = [];

async function note(name) {
  const { version, license, homepage } = JSON.parse(await readFile(join(here, "node_modules", name, "package.json"), "utf8"));
  notices.push(`${name} ${version}, ${license}, ${homepage ?? `https://www.npmjs.com/package/${name}`}`);
}

for (const { name, file } of wanted) {
  await copyFile(join(here, "node_modules", name, file), join(target, file.split("/").pop()));
  await note(name);
}

const symbols = await Promise.all(icons.map(async (icon) => {
  const drawing = await readFile(join(here, "node_modules/@tabler/icons/icons/outline", `${icon}.svg`), "utf8");
  const lines = drawing.match(/<svg[^>]*>([^]*)<\/svg>/)[1].replace(/\s*\n\s*/g, "");
  return `<symbol id="${icon}" viewBox="0 0 24 24">${lines}</symbol>`;
}));
await writeFile(join(target, "icons.svg"), `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`);
await note("@tabler/icons");
await writeFile(join(target, "NOTICE"), notices.join("\n") + "\n");
