import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { Duplex } from "node:stream";

/**
 * A test's end of a SPDY connection that runs inside a WebSocket, as kubectl makes one since 1.30. `ws` cannot be
 * this client: it refuses a protocol's name with a slash.
 * @param url `http://HOST/portForward/...`
 */
export async function connectTunnel(url: string): Promise<Duplex> {
  const sent = request(url, {
    agent: false,
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-protocol": "SPDY/3.1+portforward.k8s.io",
    },
  });
  sent.end();
  const [response, socket, head] = (await once(sent, "upgrade")) as [IncomingMessage, Duplex, Buffer];
  if (response.headers["sec-websocket-protocol"] !== "SPDY/3.1+portforward.k8s.io")
    throw new Error("the server has chosen another protocol");
  socket.unshift(head);
  return overFrames(socket);
}

function overFrames(socket: Duplex): Duplex {
  let held: Buffer = Buffer.alloc(0);
  const tunnel = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, callback) => void socket.write(maskedFrame(2, chunk), callback),
    final: (callback) => void socket.write(maskedFrame(8, Buffer.from([3, 232])), () => callback()),
    destroy: (cause, callback) => {
      socket.destroy();
      callback(cause);
    },
  });
  socket.on("data", (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    for (let frame = firstFrame(held); frame !== undefined; frame = firstFrame(held)) {
      held = held.subarray(frame.end);
      tunnel.push(frame.opcode === 8 ? null : frame.body);
      if (frame.opcode === 8) return;
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => tunnel.destroy());
  return tunnel;
}

/** A client has to mask; a mask of zeros leaves the bytes as they are (RFC 6455 §5.3). */
function maskedFrame(opcode: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt8(0x80 | opcode, 0);
  head.writeUInt8(0x80 | 126, 1);
  head.writeUInt16BE(body.length, 2); // SPDY's frames have 32 KiB at most
  return Buffer.concat([head, body]);
}

function firstFrame(
  bytes: Buffer,
): { readonly opcode: number; readonly body: Buffer; readonly end: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes.readUInt8(1) & 0x7f;
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const length =
    short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  if (bytes.length < start + length) return undefined;
  const opcode = bytes.readUInt8(0) & 0x0f;
  return { opcode, body: bytes.subarray(start, start + length), end: start + length };
}
