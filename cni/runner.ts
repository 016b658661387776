import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setLink } from "#linux/netlink/links.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { inNetns } from "#linux/netns.ts";
import { errorText } from "#lib/log.ts";
import { CniError, cniErrorCode, type NetworkAttachment, type PodNetwork } from "./model.ts";
import { isObject, type Json, list, number, object, string } from "./plan/json.ts";
import { cacheFileName, parseCached, renderCached } from "./plan/result-cache.ts";
import {
  capabilityArgs,
  cniArgs,
  type NetworkList,
  parseNetworkList,
  pluginInput,
} from "./plan/network-list.ts";

/** Where the runner finds things; several nodes on one machine have their own each. */
export interface CniRunnerOptions {
  /** Network configurations; the first one by name is used. Usually `/etc/cni/net.d`. */
  readonly confDir: string;
  /** Plugins, in order of preference. Usually `/opt/cni/bin` and `/usr/lib/cni`. */
  readonly binDirs: readonly string[];
  /** What ADD gave, as libcni keeps it. Usually `/var/lib/cni`. */
  readonly cacheDir: string;
  /** The longest one plugin may take, in milliseconds; 120 s unless given. */
  readonly timeoutMs?: number;
}

const ifName = "eth0";
/** Most that is read from a plugin, in bytes. */
const maxOutputBytes = 4 * 1024 * 1024;

/**
 * Runs the chain of plugins of the first network configuration, as containerd's CRI plugin does.
 * The configuration is read anew for every call, so a changed file needs no restart.
 */
export function cniRunner(options: CniRunnerOptions): PodNetwork {
  return {
    ready: async () => {
      try {
        const network = readNetwork(options.confDir);
        const missing = network.plugins.find(
          (plugin) => findPlugin(options.binDirs, string(plugin["type"])) === undefined,
        );
        if (missing === undefined) return { ready: true };
        return {
          ready: false,
          why: `plugin "${string(missing["type"])}" is not in ${options.binDirs.join(", ")}`,
        };
      } catch (cause) {
        return { ready: false, why: errorText(cause) };
      }
    },
    add: async (attachment, signal) => {
      const network = readNetwork(options.confDir);
      inNetns(attachment.netnsPath, bringLoopbackUp);
      const result = await addNetwork(options, network, attachment, signal);
      return { ips: addressesOf(result) };
    },
    delete: (attachment, signal) => deleteNetwork(options, attachment, signal),
    addresses: async (sandboxId) => {
      const cached = readCache(options.cacheDir, sandboxId);
      return cached === undefined ? [] : addressesOf(cached.result);
    },
  };
}

async function addNetwork(
  options: CniRunnerOptions,
  network: NetworkList,
  attachment: NetworkAttachment,
  signal: AbortSignal,
): Promise<Json> {
  const capabilities = capabilityArgs(attachment);
  let result: Json | undefined;
  try {
    for (const plugin of network.plugins) {
      const input = pluginInput(network, plugin, capabilities, result);
      result = parseAnswer(await runPlugin(options, "ADD", plugin, input, attachment, signal));
    }
  } catch (cause) {
    // The specification asks for a DEL after a failed ADD. It must not hide why the ADD failed.
    const cleanUp = AbortSignal.timeout(options.timeoutMs ?? 120_000);
    await runDelete(options, network, capabilities, attachment, result, cleanUp).catch(() => undefined);
    throw cause;
  }
  writeCache(options.cacheDir, network, attachment, result ?? {});
  return result ?? {};
}

/** With the configuration ADD was run with, from the cache; with today's when nothing is cached. */
async function deleteNetwork(
  options: CniRunnerOptions,
  attachment: NetworkAttachment,
  signal: AbortSignal,
): Promise<void> {
  const cached = readCache(options.cacheDir, attachment.sandboxId);
  const network = cached === undefined ? tryReadNetwork(options.confDir) : parseNetworkList(cached.config);
  if (network === undefined) return; // never added, and no network to remove it from
  const capabilities = cached?.capabilityArgs ?? capabilityArgs(attachment);
  await runDelete(options, network, capabilities, attachment, cached?.result, signal);
  fs.rmSync(
    path.join(options.cacheDir, "results", cacheFileName(network.name, attachment.sandboxId, ifName)),
    { force: true },
  );
}

async function runDelete(
  options: CniRunnerOptions,
  network: NetworkList,
  capabilities: Json,
  attachment: NetworkAttachment,
  result: Json | undefined,
  signal: AbortSignal,
): Promise<void> {
  for (const plugin of network.plugins.toReversed()) {
    const input = pluginInput(
      network,
      plugin,
      capabilities,
      network.cniVersion >= "0.4.0" ? result : undefined,
    );
    await runPlugin(options, "DEL", plugin, input, attachment, signal);
  }
}

async function runPlugin(
  options: CniRunnerOptions,
  command: "ADD" | "DEL",
  plugin: Json,
  input: string,
  attachment: NetworkAttachment,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const type = string(plugin["type"]);
  const program = findPlugin(options.binDirs, type);
  if (program === undefined) {
    throw new CniError(
      cniErrorCode.invalidConfig,
      `cannot find CNI plugin "${type}" in ${options.binDirs.join(", ")}; install it there`,
    );
  }
  // A namespace that is gone is given as none: plugins then remove what they know of by the container's id.
  const netns = command === "DEL" && !fs.existsSync(attachment.netnsPath) ? "" : attachment.netnsPath;
  const child = spawn(program, [], {
    stdio: ["pipe", "pipe", "pipe"],
    timeout: options.timeoutMs ?? 120_000,
    env: {
      PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin",
      CNI_COMMAND: command,
      CNI_CONTAINERID: attachment.sandboxId,
      CNI_NETNS: netns,
      CNI_IFNAME: ifName,
      CNI_ARGS: cniArgs(attachment)
        .map((pair) => pair.join("="))
        .join(";"),
      CNI_PATH: options.binDirs.join(":"),
    },
  });
  // Not killed by the signal: a plugin stopped halfway leaves a network nobody knows.
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once("error", reject);
  child.once("close", (code) => resolve(code ?? -1));
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  child.stdin.on("error", () => undefined); // it ended without reading; its answer says why
  child.stdin.end(input);
  const code = await promise;
  if (code !== 0) throw pluginError(command, type, code, stdout(), stderr());
  return stdout();
}

function pluginError(command: string, type: string, code: number, stdout: string, stderr: string): CniError {
  const doing = `cannot ${command === "ADD" ? "add" : "delete"} a Pod's network: plugin "${type}"`;
  try {
    const answer: unknown = JSON.parse(stdout);
    if (isObject(answer) && typeof answer["msg"] === "string") {
      const details = string(answer["details"]);
      return new CniError(
        number(answer["code"]),
        `${doing}: ${answer["msg"]}${details === "" || type === "keelson" ? "" : `; ${details}`}`,
      );
    }
  } catch {
    // Not JSON: what it printed is all there is.
  }
  return new CniError(
    cniErrorCode.failed,
    `${doing} ended with ${code}: ${(stderr || stdout).trim().slice(-2_000)}`,
  );
}

function parseAnswer(text: string): Json {
  try {
    const answer: unknown = JSON.parse(text);
    if (isObject(answer)) return answer;
  } catch {
    // told below
  }
  throw new CniError(
    cniErrorCode.undecodable,
    `cannot read a CNI plugin's result: "${text.slice(0, 200)}" is not a JSON object`,
  );
}

function readNetwork(confDir: string): NetworkList {
  const names = fs.existsSync(confDir)
    ? fs
        .readdirSync(confDir)
        .filter((name) => /\.(conflist|conf|json)$/.test(name))
        .sort()
    : [];
  const faults: string[] = [];
  for (const name of names) {
    try {
      return parseNetworkList(fs.readFileSync(path.join(confDir, name), "utf8"));
    } catch (cause) {
      faults.push(`${name}: ${errorText(cause)}`); // a broken file does not hide a good one behind it
    }
  }
  const why = faults.length === 0 ? "there is no network configuration" : faults.join("; ");
  throw new CniError(cniErrorCode.notAvailable, `cannot use "${confDir}": ${why}; put a .conflist there`);
}

function tryReadNetwork(confDir: string): NetworkList | undefined {
  try {
    return readNetwork(confDir);
  } catch {
    return undefined;
  }
}

function findPlugin(binDirs: readonly string[], type: string): string | undefined {
  if (type === "" || type.includes("/")) return undefined;
  return binDirs.map((directory) => path.join(directory, type)).find((file) => fs.existsSync(file));
}

function writeCache(
  cacheDir: string,
  network: NetworkList,
  attachment: NetworkAttachment,
  result: Json,
): void {
  const directory = path.join(cacheDir, "results");
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = path.join(directory, cacheFileName(network.name, attachment.sandboxId, ifName));
  fs.writeFileSync(`${file}.tmp`, renderCached(network, attachment, ifName, result), { mode: 0o600 });
  fs.renameSync(`${file}.tmp`, file);
}

function readCache(cacheDir: string, sandboxId: string): ReturnType<typeof parseCached> {
  const directory = path.join(cacheDir, "results");
  if (!fs.existsSync(directory)) return undefined;
  const end = `-${sandboxId}-${ifName}`;
  const name = fs.readdirSync(directory).find((one) => one.endsWith(end));
  return name === undefined ? undefined : parseCached(fs.readFileSync(path.join(directory, name), "utf8"));
}

function addressesOf(result: Json): string[] {
  const interfaces = list(result["interfaces"]);
  return list(result["ips"])
    .filter(
      (ip) =>
        typeof ip["interface"] !== "number" || string(object(interfaces[ip["interface"]])["sandbox"]) !== "",
    )
    .map((ip) => string(ip["address"]).replace(/\/.*$/, ""));
}

function bringLoopbackUp(): void {
  using socket = new NetlinkSocket();
  setLink(socket, 1, { up: true });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length <= maxOutputBytes) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
