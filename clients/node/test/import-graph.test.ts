/** Modules and folders stay small, and neither import each other, directly or through others. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
const MAX_LINES = 400;
const MAX_MODULES = 20;
/** Imports and re-exports, of types too. */
const IMPORTS = /\b(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g;

/** A module or a folder by its path, and those that it imports. */
type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** The source of each module under `root`, by path. */
function readModules(root: string, extension: string): Map<string, string> {
  const paths = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(extension));
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

/** Which module imports which. */
function moduleGraph(modules: ReadonlyMap<string, string>, extension: string): Graph {
  const imported = (module: string, source: string): string[] =>
    [...source.matchAll(IMPORTS)].map(([, path]) => join(dirname(module), path!).replace(/\.js$/, extension));
  return new Map([...modules].map(([module, source]) => [module, new Set(imported(module, source))]));
}

/** Which folder imports from which other one. */
function folderGraph(modules: Graph): Graph {
  const folders = new Map<string, Set<string>>();
  for (const [module, imported] of modules) {
    const folder = dirname(module);
    const others = folders.get(folder) ?? new Set();
    folders.set(folder, others);
    for (const other of imported) if (dirname(other) !== folder) others.add(dirname(other));
  }
  return folders;
}

/** The nodes of one cycle in order; undefined if there is none. */
function findCycle(graph: Graph): string[] | undefined {
  const done = new Set<string>();
  const visit = (node: string, path: string[]): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (done.has(node)) return undefined;
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next, [...path, node]);
      if (cycle) return cycle;
    }
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const cycle = visit(node, []);
    if (cycle) return cycle;
  }
  return undefined;
}

/** Every written module and folder that is over its limit. Generated modules have none. */
function findOversized(modules: ReadonlyMap<string, string>): string[] {
  const written = [...modules].filter(([path]) => !path.startsWith("generated/"));
  const counts = new Map<string, number>();
  for (const [path] of written) counts.set(dirname(path), (counts.get(dirname(path)) ?? 0) + 1);
  const lines = written.map(([path, source]) => [path, source.split("\n").length - 1] as const);
  return [
    ...lines.filter(([, count]) => count > MAX_LINES).map(([path, count]) => `${path}: ${count} lines`),
    ...[...counts].filter(([, count]) => count > MAX_MODULES).map(([path, count]) => `${path}: ${count} modules`),
  ];
}

test("a cycle of modules is found, whichever way they import", () => {
  // Quoted here, so that this module does not seem to import them.
  const [b, c, d] = ["./b.js", "./inner/c.js", "./d.js"].map((path) => JSON.stringify(path));
  const modules = new Map([
    ["a.ts", `import { b } from ${b};`],
    ["b.ts", `export { c } from ${c};\nimport type { D } from ${d};`],
    ["inner/c.ts", ""],
    ["d.ts", `const later = await import(${b});`],
  ]);
  assert.deepEqual(findCycle(moduleGraph(modules, ".ts")), ["b.ts", "d.ts", "b.ts"]);
});

test("a cycle of folders is found, also where their modules have none", () => {
  const modules = new Map([
    ["a.ts", new Set(["rpc/b.ts"])],
    ["rpc/b.ts", new Set(["rpc/c.ts"])],
    ["rpc/c.ts", new Set(["d.ts"])],
    ["d.ts", new Set<string>()],
  ]);
  assert.equal(findCycle(modules), undefined);
  assert.deepEqual(findCycle(folderGraph(modules)), [".", "rpc", "."]);
});

test("modules and folders over their limits are found", () => {
  const atLimits = Array.from({ length: 20 }, (_, i) => [`rpc/${i}.ts`, "\n".repeat(400)] as const);
  const generated = Array.from({ length: 21 }, (_, i) => [`generated/${i}.ts`, "\n".repeat(401)] as const);
  assert.deepEqual(findOversized(new Map([...atLimits, ...generated])), []);
  assert.deepEqual(findOversized(new Map([...atLimits, ["rpc/20.ts", "\n".repeat(401)]])), [
    "rpc/20.ts: 401 lines",
    "rpc: 21 modules",
  ]);
});

for (const [name, root, extension] of [
  ["the client", join(PACKAGE, "src"), ".ts"],
  ["the tests", join(PACKAGE, "test"), ".ts"],
  ["the example app server", join(PACKAGE, "../../examples/app-server/src"), ".js"],
] as const) {
  test(`${name}: small modules and folders, none of which import each other`, { skip: !existsSync(root) }, () => {
    const modules = readModules(root, extension);
    const graph = moduleGraph(modules, extension);
    const imported = [...graph.values()].flatMap((modules) => [...modules]);
    assert.ok(imported.length > 5, "the imports are not recognized");
    assert.deepEqual(
      imported.filter((module) => !graph.has(module)),
      [],
    );
    assert.equal(findCycle(graph), undefined);
    assert.equal(findCycle(folderGraph(graph)), undefined);
    assert.deepEqual(findOversized(modules), []);
  });
}
