/**
 * Makes one minified ES module of the package and its dependencies: the module that the server's page uses, or with
 * --out PATH another file. With --check it fails where the server's module would change.
 */

import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const packageRoot = resolve(fileURLToPath(new URL("..", import.meta.url)));
const vendored = resolve(packageRoot, "../../mismo_grpc/gateway/static/vendor/mismo-client.js");
const args = process.argv.slice(2);
const out = args.includes("--out") ? resolve(packageRoot, args[args.indexOf("--out") + 1]) : vendored;

const { version, dependencies } = JSON.parse(readFileSync(resolve(packageRoot, "package.json"), "utf8"));
const parts = Object.entries(dependencies).map(([name, number]) => `${name} ${number}`);
const banner = `/*! mismo-web-client ${version} (MIT), with ${parts.join(" and ")} (Apache-2.0); made by clients/web/scripts/bundle.js */`;

const { outputFiles } = await build({
  entryPoints: [resolve(packageRoot, "src/index.ts")],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "none",
  banner: { js: banner },
  write: false,
});
const text = outputFiles[0].text;

if (args.includes("--check")) {
  if (readFileSync(vendored, "utf8") !== text) {
    console.error(`${vendored} does not fit clients/web/src; run \`npm run bundle\` and commit`);
    process.exitCode = 1;
  }
} else {
  writeFileSync(out, text);
  console.log(`${out}: ${text.length} bytes, ${gzipSync(text, { level: 9 }).length} compressed`);
}
