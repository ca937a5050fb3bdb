// Fails the build when the JavaScript of the first page grows over its budget.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const LIMIT_KB = 100;
const dist = new URL("../dist", import.meta.url).pathname;
const page = readFileSync(join(dist, "index.html"), "utf8");
const scripts = [...page.matchAll(/(?:src|href)="(\/[^"]+\.js)"/g)].map((found) => found[1]);
const bytes = scripts.map((path) => gzipSync(readFileSync(join(dist, path))).length);
const total = bytes.reduce((sum, size) => sum + size, 0) / 1000;

console.log(`first page: ${total.toFixed(1)} kB of JavaScript, gzip (limit ${LIMIT_KB})`);
if (total > LIMIT_KB) process.exit(1);
