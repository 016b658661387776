/**
 * The whole proxy with an API in memory. Arguments: its flags. Standard input: one JSON object a line,
 * `{"put": path, "object": {…}}` or `{"delete": path, "name": "ns/name"}`.
 */
import { createInterface } from "node:readline";
import { ApiClient } from "#api/client.ts";
import type { KubeObject } from "#api/meta.ts";
import { parseFlags } from "#lib/flags.ts";
import { jsonLog } from "#lib/log.ts";
import { flags } from "../../proxy/config.ts";
import { runProxy, systemPorts } from "../../proxy/main.ts";
import { MemoryApi } from "./memory-api.ts";

type Line =
  | { readonly put: string; readonly object: KubeObject }
  | { readonly delete: string; readonly name: string };

const api = new MemoryApi();
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
const lines = createInterface({ input: process.stdin });
lines.on("line", (text) => {
  const line = JSON.parse(text) as Line;
  if ("put" in line) api.put(line.put, line.object);
  else api.delete(line.delete, line.name);
});
lines.once("close", () => stop.abort());
const config = parseFlags("proxy-under-test", flags, process.argv.slice(2));
await runProxy(config, { ...systemPorts, log: jsonLog("proxy"), client: new ApiClient(api) }, stop.signal);
lines.close();
