import { unknownPath } from "../api-error.ts";
import type { Engine } from "./engine.ts";
import type { ServerResponse } from "./request.ts";

/** `/livez`, `/readyz` and `/healthz`: `ok`, or the checks one a line when one fails or `verbose` asks. */
export function health(engine: Engine, path: string, query: URLSearchParams, state: string): ServerResponse {
  const [, endpoint = "", only] = path.split("/");
  const checks = checksOf(engine, endpoint, state);
  const excluded = new Set(query.getAll("exclude"));
  if (only !== undefined && !checks.has(only)) throw unknownPath();
  const chosen = [...checks].filter(([name]) => (only === undefined ? !excluded.has(name) : name === only));
  const failed = chosen.filter(([, why]) => why !== undefined);
  if (failed.length === 0 && (only !== undefined || !query.has("verbose"))) return text(200, "ok");
  const lines = chosen.map(([name, why]) =>
    why === undefined ? `[+]${name} ok` : `[-]${name} failed: ${why}`,
  );
  for (const name of excluded) if (checks.has(name)) lines.push(`[+]${name} excluded: ok`);
  const end = failed.length === 0 ? `${endpoint} check passed` : `${endpoint} check failed`;
  return text(failed.length === 0 ? 200 : 500, `${[...lines, end].join("\n")}\n`);
}

/** Each check's name and, when it fails, why. */
function checksOf(engine: Engine, endpoint: string, state: string): ReadonlyMap<string, string | undefined> {
  const checks = new Map<string, string | undefined>([["ping", undefined]]);
  if (endpoint === "livez") return checks;
  checks.set("cache", state === "starting" ? "the store is still being read" : undefined);
  if (endpoint === "readyz") {
    checks.set("shutdown", state === "stopping" ? "the server is shutting down" : undefined);
    for (const [name, check] of engine.ports.ready ?? []) checks.set(name, check());
  }
  return checks;
}

function text(status: number, value: string): ServerResponse {
  const headers = { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" };
  return { status, headers, body: Buffer.from(value) };
}
