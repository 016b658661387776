import type { Duplex } from "node:stream";
import { connectSpdy } from "#lib/spdy/upgrade.ts";
import type { ProcessStreams, StreamOptions } from "../runtime.ts";
import { RuntimeError } from "../runtime.ts";
import { exitCodeOf } from "./exit-status.ts";

/** Longest text of an error stream. */
const maxStatusBytes = 64 * 1024;

/**
 * Exec and attach through the URL that the runtime gave. SPDY, because its WebSocket protocol (v4) cannot say
 * that stdin has ended.
 */
export async function connectProcess(
  url: string,
  options: StreamOptions,
  signal: AbortSignal,
): Promise<ProcessStreams> {
  const { session } = await connectSpdy(url, ["v4.channel.k8s.io"], signal).catch(unavailable);
  const open = async (streamType: string, wanted: boolean): Promise<Duplex | undefined> =>
    wanted ? await session.open({ streamType }) : undefined;
  try {
    const status = await session.open({ streamType: "error" });
    const stdin = await open("stdin", options.stdin);
    const stdout = await open("stdout", options.stdout);
    const stderr = await open("stderr", options.stderr && !options.tty);
    const resizes = await open("resize", options.tty);
    const exit = readText(status).then(exitCodeOf);
    exit.catch(() => {}); // A caller who closes the streams may not wait for the end.
    return {
      stdin,
      stdout,
      stderr,
      exit,
      resize: async ({ width, height }) => {
        resizes?.write(JSON.stringify({ Width: width, Height: height }));
      },
      close: () => session.destroy(),
    };
  } catch (cause) {
    session.destroy();
    throw unavailable(cause);
  }
}

/** A byte stream to a port of the sandbox, through the URL that the runtime gave. */
export async function connectPort(url: string, port: number, signal: AbortSignal): Promise<Duplex> {
  const { session } = await connectSpdy(url, ["portforward.k8s.io"], signal).catch(unavailable);
  try {
    const headers = { port: String(port), requestID: "0" };
    const status = await session.open({ ...headers, streamType: "error" });
    status.end();
    const data = await session.open({ ...headers, streamType: "data" });
    data.once("close", () => session.close());
    void readText(status).then((text) => {
      if (text !== "") data.destroy(new RuntimeError("failed", `cannot forward to port ${port}: ${text}`));
    });
    return data;
  } catch (cause) {
    session.destroy();
    throw unavailable(cause);
  }
}

async function readText(stream: Duplex): Promise<string> {
  let text = "";
  try {
    for await (const chunk of stream) text = (text + String(chunk)).slice(0, maxStatusBytes);
  } catch {
    // Cut off: what came is what there is.
  }
  return text;
}

function unavailable(cause: unknown): never {
  const why = cause instanceof Error ? cause.message : String(cause);
  throw new RuntimeError("failed", `the runtime's streaming server refused: ${why}`, { cause });
}
