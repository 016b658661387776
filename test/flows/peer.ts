/**
 * A host in a network namespace. Arguments: addresses to serve on; every one answers TCP and UDP on port 8080 with
 * `<its own address> <address it sees as client>`. Standard input: one JSON request a line; standard output: its answer.
 */
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

interface Ask {
  readonly id: number;
  readonly protocol: "tcp" | "udp";
  readonly ip: string;
  readonly port: number;
  readonly timeoutMs: number;
  /** UDP: send from this port, so that the flow is the same one each time. */
  readonly fromPort?: number;
  /** TCP: keep the connection and answer again for each later request with the same name. */
  readonly keep?: string;
}

const servers = process.argv.slice(2).map(async (address) => {
  const tcp = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.on("data", () => socket.write(`${address} ${socket.remoteAddress}`));
    socket.on("end", () => socket.end());
  });
  await new Promise<void>((resolve) => tcp.listen(8080, address, resolve));
  const udp = createSocket("udp4");
  udp.on("message", (_, from) => udp.send(`${address} ${from.address}`, from.port, from.address));
  await new Promise<void>((resolve) => udp.bind(8080, address, resolve));
});
await Promise.all(servers);
process.stdout.write("ready\n");

const kept = new Map<string, ReturnType<typeof connect>>();
createInterface({ input: process.stdin }).on("line", (line) => {
  const ask = JSON.parse(line) as Ask;
  const reply = ask.protocol === "tcp" ? overTcp(ask) : overUdp(ask);
  reply.then(
    (answer) => process.stdout.write(`${JSON.stringify({ id: ask.id, answer })}\n`),
    (cause: NodeJS.ErrnoException) =>
      process.stdout.write(`${JSON.stringify({ id: ask.id, error: cause.code ?? cause.message })}\n`),
  );
});

function overTcp({ ip, port, timeoutMs, keep }: Ask): Promise<string> {
  return new Promise((resolve, reject) => {
    const known = keep === undefined ? undefined : kept.get(keep);
    const socket = known ?? connect({ host: ip, port });
    if (keep !== undefined) kept.set(keep, socket);
    const timer = setTimeout(() => {
      socket.destroy();
      reject(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" }));
    }, timeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on("error", () => undefined);
    };
    socket.once("error", (cause) => {
      settle();
      reject(cause);
    });
    socket.once("close", () => {
      settle();
      reject(Object.assign(new Error("closed"), { code: "CLOSED" }));
    });
    socket.once("data", (data) => {
      settle();
      if (keep === undefined) socket.end();
      resolve(data.toString());
    });
    socket.write("who");
  });
}

function overUdp({ ip, port, timeoutMs, fromPort }: Ask): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket("udp4");
    const settle = (): void => {
      clearTimeout(timer);
      socket.close();
    };
    const timer = setTimeout(() => {
      settle();
      reject(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" }));
    }, timeoutMs);
    socket.once("error", (cause) => {
      settle();
      reject(cause);
    });
    socket.once("message", (data) => {
      settle();
      resolve(data.toString());
    });
    socket.bind(fromPort ?? 0, () => socket.connect(port, ip, () => socket.send("who")));
  });
}
