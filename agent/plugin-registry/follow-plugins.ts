import { type FSWatcher, watch } from "node:fs";
import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { GrpcChannel } from "../grpc/grpc-channel.ts";
import { toGrpcStatusError } from "../grpc/grpc-status.ts";
import { messageCodec } from "../grpc/message-codec.ts";
import { findSockets } from "./find-sockets.ts";
import { getInfo, notifyRegistrationStatus, type PluginInfo, registrationMessages } from "./registration.ts";

/** What takes plugins of one type. */
export interface PluginHandler {
  /** @throws Error that says why the plugin cannot be used at all. */
  validate(info: PluginInfo): void;
  /** Makes the plugin usable. @throws Error that says why not; it is tried again. */
  register(info: PluginInfo, signal: AbortSignal): Promise<void>;
  /** Its socket is gone. Never called because the agent ends: plugins outlive it. */
  deregister(info: PluginInfo, signal: AbortSignal): Promise<void>;
}

/** What following plugins needs. */
export interface PluginPorts {
  /** By the plugins' type. */
  readonly handlers: Readonly<Record<string, PluginHandler>>;
  readonly clock: Clock;
  readonly log: Log;
  /** Every socket that was there at the start has been tried once. */
  readonly settled: () => void;
}

interface Socket {
  readonly identity: string;
  readonly gone: AbortController;
  readonly done: Promise<void>;
}

/** Time between two looks at everything; what the directory itself gets is seen at once. */
const rescanMs = 5_000;
/** The kubelet's wait for an answer; a plugin only tells its name. */
const infoTimeoutMs = 10_000;
const socketLimit = 256;
/** The kubelet's times between two tries. */
const retry = { firstMs: 500, maxMs: 122_000 };
/** Longest a plugin may take to be let go when its socket has gone. */
const deregisterMs = 30_000;

/**
 * Registers each plugin that has a socket in the directory, until the signal. A socket that goes lets its plugin go;
 * one made anew in its place registers anew. What stands there when an agent starts is found again.
 */
export async function followPlugins(
  directory: string,
  ports: PluginPorts,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = ports;
  await makeFolder(directory, 0o750).catch((cause: unknown) =>
    log.warn("cannot make the directory of plugins", { cause: errorText(cause) }),
  );
  const sockets = new Map<string, Socket>();
  let wake = Promise.withResolvers<void>();
  let watcher: FSWatcher | undefined;
  let isFirst = true;
  while (!signal.aborted) {
    watcher ??= startWatch(directory, () => wake.resolve());
    try {
      const tried = await lookAt(directory, sockets, ports, signal);
      if (isFirst) void Promise.all(tried).then(ports.settled);
      isFirst = false;
    } catch (cause) {
      log.warn("cannot look for plugins", { directory, cause: errorText(cause) });
    }
    await Promise.race([wake.promise, clock.sleep(rescanMs, signal).catch(() => undefined)]);
    wake = Promise.withResolvers<void>();
  }
  watcher?.close();
  await Promise.all([...sockets.values()].map(({ done }) => done));
}

/** @returns the first tries of what is new. */
async function lookAt(
  directory: string,
  sockets: Map<string, Socket>,
  ports: PluginPorts,
  signal: AbortSignal,
): Promise<readonly Promise<void>[]> {
  const found = await findSockets(directory, socketLimit);
  const tried: Promise<void>[] = [];
  for (const [file, { gone }] of sockets) if (!found.has(file)) gone.abort();
  for (const [file, identity] of found) {
    const before = sockets.get(file);
    if (before?.identity === identity) continue;
    before?.gone.abort();
    const gone = new AbortController();
    const first = Promise.withResolvers<void>();
    const run = async (): Promise<void> => {
      await before?.done; // first the old one is let go
      await keepPlugin(file, ports, first.resolve, AbortSignal.any([signal, gone.signal]), signal);
    };
    const socket = { identity, gone, done: run() };
    sockets.set(file, socket);
    void socket.done.then(() => {
      first.resolve();
      if (sockets.get(file) === socket) sockets.delete(file);
    });
    tried.push(first.promise);
  }
  return tried;
}

/** A plugin from its socket's first sight until it goes. Never throws. */
async function keepPlugin(
  file: string,
  ports: PluginPorts,
  tried: () => void,
  alive: AbortSignal,
  signal: AbortSignal,
): Promise<void> {
  const { clock, handlers, log } = ports;
  let info: PluginInfo | undefined;
  for (let failures = 1; info === undefined && !alive.aborted; failures += 1) {
    try {
      info = await register(file, ports, alive);
      log.info("registered a plugin", { socket: file, type: info.type, name: info.name });
    } catch (cause) {
      if (alive.aborted) break;
      const waitMs = backoffMs(failures, retry);
      log.warn("cannot register a plugin", { socket: file, cause: errorText(cause), retryInMs: waitMs });
      tried();
      await clock.sleep(waitMs, alive).catch(() => undefined);
    }
  }
  tried();
  if (info === undefined) return;
  await aborted(alive);
  if (signal.aborted) return;
  const { type, name } = info;
  log.info("a plugin is gone", { socket: file, type, name });
  await handlers[type]
    ?.deregister(info, AbortSignal.any([signal, AbortSignal.timeout(deregisterMs)]))
    .catch((cause: unknown) =>
      log.warn("cannot let go of a plugin", { type, name, cause: errorText(cause) }),
    );
}

async function register(
  file: string,
  { handlers, log }: PluginPorts,
  signal: AbortSignal,
): Promise<PluginInfo> {
  const channel = new GrpcChannel(file, messageCodec(registrationMessages), toGrpcStatusError);
  try {
    const answer = await channel.call<PluginInfo>(getInfo, {}, infoTimeoutMs, signal);
    const info = { ...answer, endpoint: answer.endpoint === "" ? file : answer.endpoint };
    const tell = async (error: string): Promise<void> => {
      await channel
        .call(notifyRegistrationStatus, { pluginRegistered: error === "", error }, infoTimeoutMs, signal)
        .catch((cause: unknown) =>
          log.warn("cannot tell a plugin of its registration", { socket: file, cause: errorText(cause) }),
        );
    };
    const refuse = async (why: string, cause?: unknown): Promise<never> => {
      const message = `RegisterPlugin error -- ${why}`;
      await tell(message);
      throw new Error(message, { cause });
    };
    const handler = handlers[info.type];
    if (handler === undefined)
      return await refuse(`no handler registered for plugin type: ${info.type} at socket ${file}`);
    try {
      handler.validate(info);
    } catch (cause) {
      await refuse(`plugin validation failed with err: ${errorText(cause)}`);
    }
    try {
      await handler.register(info, signal);
    } catch (cause) {
      signal.throwIfAborted();
      await refuse(`plugin registration failed with err: ${errorText(cause)}`);
    }
    await tell("");
    return info;
  } finally {
    channel.close();
  }
}

function startWatch(directory: string, changed: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(directory, { persistent: false }, changed);
    watcher.on("error", () => watcher.close()); // looking goes on by time
    return watcher;
  } catch {
    return undefined;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}
