/** No two modules import each other, directly or by a detour. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
/** Of values or types alike: an arrow is an arrow. */
const IMPORTS = /\b(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g;

type Graph = ReadonlyMap<string, readonly string[]>;

/** The modules under `root` and what each imports of them. */
function importGraph(root: string, extension: string): Graph {
  const modules = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(extension));
  return new Map(
    modules.map((module) => {
      const source = readFileSync(join(root, module), "utf8");
      const imported = [...source.matchAll(IMPORTS)].map(([, path]) =>
        relative(root, join(root, dirname(module), path!)).replace(/\.js$/, extension),
      );
      return [module, imported];
    }),
  );
}

/** The modules of one cycle in order; undefined if there is none. */
function findCycle(graph: Graph): string[] | undefined {
  const done = new Set<string>();
  const visit = (module: string, path: string[]): string[] | undefined => {
    if (path.includes(module)) return [...path.slice(path.indexOf(module)), module];
    if (done.has(module)) return undefined;
    for (const next of graph.get(module) ?? []) {
      const cycle = visit(next, [...path, module]);
      if (cycle) return cycle;
    }
    done.add(module);
    return undefined;
  };
  for (const module of graph.keys()) {
    const cycle = visit(module, []);
    if (cycle) return cycle;
  }
  return undefined;
}

test("a cycle is found", () => {
  const graph = new Map([
    ["a", ["b"]],
    ["b", ["c", "d"]],
    ["c", []],
    ["d", ["b"]],
  ]);
  assert.deepEqual(findCycle(graph), ["b", "d", "b"]);
});

for (const [name, root, extension] of [
  ["the client", join(PACKAGE, "src"), ".ts"],
  ["the tests", join(PACKAGE, "test"), ".ts"],
  ["the example app server", join(PACKAGE, "../../examples/app-server/src"), ".js"],
] as const) {
  test(`the modules of ${name} do not import each other`, { skip: !existsSync(root) }, () => {
    const graph = importGraph(root, extension);
    const arrows = [...graph.values()].flat();
    assert.ok(arrows.length > 5, "the imports are not recognized");
    assert.deepEqual(
      arrows.filter((module) => !graph.has(module)),
      [],
    );
    assert.equal(findCycle(graph), undefined);
  });
}
