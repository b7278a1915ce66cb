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

await rm(target, { recursive: true, force: true });
await mkdir(target, { recursive: true });
const notices = [];
for (const { name, file } of wanted) {
  const folder = join(here, "node_modules", name);
  const { version, license, homepage } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  await copyFile(join(folder, file), join(target, file.split("/").pop()));
  notices.push(`${name} ${version}, ${license}, ${homepage ?? `https://www.npmjs.com/package/${name}`}`);
}
await writeFile(join(target, "NOTICE"), notices.join("\n") + "\n");
