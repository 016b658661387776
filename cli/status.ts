import { readFile } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { nodes } from "#api/resources.ts";
import { type Flags, oneOf, parseFlags, renderFlags, text } from "#lib/flags.ts";
import { errorText } from "#lib/log.ts";
import { chooseBackground } from "./cluster/background.ts";
import { loadSettings } from "./cluster/settings.ts";
import { kubernetesVersion } from "#api/version.ts";
import type { Command } from "./command.ts";
import { ownVersion } from "./versions.ts";

interface StatusConfig {
  readonly configDir: string;
  readonly output: "text" | "json";
}

const flags: Flags<StatusConfig> = {
  configDir: {
    flag: "config-dir",
    parse: text,
    default: "/etc/keelson",
    help: "where the cluster's settings are",
  },
  output: { flag: "output", parse: oneOf("text", "json"), default: "text", help: "json for programs" },
};

/** One line of `keelson status`. */
interface Part {
  readonly part: string;
  readonly state: "running" | "stopped" | "healthy" | "unhealthy";
  readonly where: string;
  readonly detail: string;
}

/** `keelson status [-o json]`: the parts, their versions, ports and health. Exit code 1 when one is not well. */
export const status: Command = {
  name: "status",
  summary: "show the parts, their versions, ports and health",
  help: () => `usage: keelson status [-o json]\n\n${renderFlags(flags)}\n`,
  async run(args, io, signal) {
    const config = parseFlags(
      "keelson status",
      flags,
      args.map((arg) => (arg === "-o" ? "--output" : arg)),
    );
    const settings = await loadSettings(config.configDir);
    if (settings === undefined) {
      io.out(
        config.output === "json"
          ? `${JSON.stringify({ version: ownVersion, up: false, parts: [] })}\n`
          : "not up\n",
      );
      return 1;
    }
    const background = chooseBackground(settings, io.program);
    const parts: Part[] = [...(await background.states())].map(([name, state]) => ({
      part: name,
      state,
      where:
        background.kind === "systemd" ? `keelson-${name}.service` : path.join(settings.logDir, `${name}.log`),
      detail: "",
    }));
    parts.push(await checkApi(settings.configDir, signal));
    for (const [part, url] of healthUrls) parts.push(await checkHealth(part, url));
    if (config.output === "json") {
      io.out(`${JSON.stringify({ version: ownVersion, kubernetes: kubernetesVersion, up: true, parts })}\n`);
    } else {
      io.out(`keelson ${ownVersion}, Kubernetes ${kubernetesVersion}\n`);
      const width = Math.max(...parts.map(({ part }) => part.length));
      for (const { part, state, where, detail } of parts)
        io.out(`${part.padEnd(width)}  ${state.padEnd(9)}  ${where}  ${detail}\n`);
    }
    return parts.every(({ state }) => state === "running" || state === "healthy") ? 0 : 1;
  },
};

const healthUrls: readonly (readonly [string, string])[] = [
  ["agent", "http://127.0.0.1:10248/healthz"],
  ["proxy", "http://127.0.0.1:10256/healthz"],
];

async function checkApi(configDir: string, signal: AbortSignal): Promise<Part> {
  const file = path.join(configDir, "admin.kubeconfig");
  try {
    await readFile(file);
    const endpoint = loadKubeconfig(file);
    const client = new ApiClient(new HttpTransport(endpoint));
    try {
      const list = await client.list(nodes, {}, AbortSignal.any([signal, AbortSignal.timeout(5_000)]));
      const names = list.items.map((node) => {
        const ready = node.status?.conditions?.find(({ type }) => type === "Ready");
        return `${node.metadata?.name ?? "?"} ${ready?.status === "True" ? "Ready" : `NotReady (${ready?.message ?? "no word yet"})`}`;
      });
      return {
        part: "API server",
        state: "healthy",
        where: endpoint.server,
        detail: `nodes: ${names.join(", ")}`,
      };
    } finally {
      await client.close();
    }
  } catch (cause) {
    return { part: "API server", state: "unhealthy", where: file, detail: errorText(cause) };
  }
}

async function checkHealth(part: string, url: string): Promise<Part> {
  const { promise, resolve } = Promise.withResolvers<Part>();
  const request = http.get(url, { timeout: 3_000 }, (response) => {
    response.resume();
    const well = response.statusCode === 200;
    resolve({
      part,
      state: well ? "healthy" : "unhealthy",
      where: url,
      detail: well ? "" : `answered ${response.statusCode}`,
    });
  });
  request.once("timeout", () => request.destroy(new Error("no answer in 3 s")));
  request.once("error", (cause) =>
    resolve({ part, state: "unhealthy", where: url, detail: errorText(cause) }),
  );
  return await promise;
}
