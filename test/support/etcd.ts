import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

const program = "/usr/bin/etcd";

/** Why no test can start etcd here; undefined when it can. For tap's `skip`. */
export const etcdMissing: string | undefined = existsSync(program)
  ? undefined
  : `needs ${program}: apt install etcd-server`;

/** A real etcd of one member on the loopback interface, with its data in a directory of its own. */
export interface TestEtcd extends AsyncDisposable {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
  /** Ends the process and starts it again on the same data and port. */
  restart(): Promise<void>;
  /** Ends the process; the data stay until disposal. */
  stop(): Promise<void>;
}

export interface TestEtcdOptions {
  /** `/run/netns/NAME`: etcd runs in this network namespace, where `lo` is up. */
  readonly netns?: string;
  /** Another address to listen on, with its port: `http://10.0.0.1:2379`. */
  readonly listen?: string;
  readonly args?: readonly string[];
}

/** Starts etcd and waits until it serves. */
export async function startEtcd(options: TestEtcdOptions = {}): Promise<TestEtcd> {
  const directory = await mkdtemp(path.join(tmpdir(), "keelson-etcd-"));
  const endpoint = options.listen ?? `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const args = [
    ["--name", "test", "--data-dir", directory],
    ["--listen-client-urls", endpoint, "--advertise-client-urls", endpoint],
    ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `test=${peer}`],
    ["--unsafe-no-fsync", ...(options.args ?? [])],
  ].flat();
  const enter = options.netns === undefined ? [] : ["nsenter", `--net=${options.netns}`];
  let child = await run([...enter, program, ...args]);
  return {
    endpoint,
    stop: () => end(child),
    restart: async () => {
      await end(child);
      child = await run([...enter, program, ...args]);
    },
    [Symbol.asyncDispose]: async () => {
      await end(child);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Resolves when etcd says that it serves. */
async function run([command = "", ...args]: readonly string[]): Promise<ChildProcess> {
  const child = spawn(
    command,
    [...args, "--log-level", "info", "--logger", "zap", "--log-outputs", "stderr"],
    {
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: process.env["PATH"] ?? "", ETCD_UNSUPPORTED_ARCH: process.arch },
    },
  );
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let tail = "";
  child.stderr.on("data", (chunk: Buffer) => {
    tail = (tail + chunk.toString("utf8")).slice(-20_000);
    if (/ready to serve client requests|serving client/.test(tail)) resolve();
  });
  child.once("exit", (code) =>
    reject(new Error(`cannot start etcd: it ended with code ${code}: ${tail.slice(-2_000)}`)),
  );
  child.once("error", reject);
  await promise;
  return child;
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  child.kill("SIGKILL");
  await promise;
}

/** A TCP port of the loopback interface that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = net.createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  if (address === null || typeof address === "string") throw new Error("cannot find a free port: no address");
  return address.port;
}
