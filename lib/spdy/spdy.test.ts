import { createHash, randomBytes } from "node:crypto";
import { type Duplex, duplexPair } from "node:stream";
import { createDeflate, constants } from "node:zlib";
import t from "tap";
import { headerDictionary } from "./dictionary.ts";
import { type Frame, FrameParser, formatData, formatPing, formatReset, formatSynStream } from "./frames.ts";
import { HeaderReader, HeaderWriter } from "./header-block.ts";
import { SpdySession } from "./session.ts";
import type { SpdyStream } from "./stream.ts";

t.test("the header dictionary is the one of the SPDY/3 draft", async (t) => {
  let low = 1;
  let high = 0;
  for (const byte of headerDictionary) {
    low = (low + byte) % 65_521;
    high = (high + low) % 65_521;
  }
  t.equal(headerDictionary.length, 1_423);
  t.equal((high * 65_536 + low).toString(16), "e3c6a7c2");
});

t.test("frames are the same however the bytes are cut", async (t) => {
  const bytes = Buffer.concat([
    formatSynStream(1, Buffer.from("block"), false),
    formatData(1, Buffer.from("hello"), false),
    formatData(1, Buffer.alloc(0), true),
    formatPing(3),
    formatReset(1, 5),
  ]);
  for (const size of [1, 3, 7, bytes.length]) {
    const parser = new FrameParser();
    const frames: Frame[] = [];
    for (let offset = 0; offset < bytes.length; offset += size)
      frames.push(...parser.push(bytes.subarray(offset, offset + size)));
    const data = frames.filter((frame) => frame.type === "data");
    t.equal(Buffer.concat(data.map((frame) => frame.data)).toString(), "hello", `in pieces of ${size}`);
    t.equal(data.at(-1)?.fin, true);
    t.match(
      frames.filter((frame) => frame.type !== "data"),
      [
        { type: "syn-stream", streamId: 1, fin: false, block: Buffer.from("block") },
        { type: "ping", id: 3 },
        { type: "reset", streamId: 1, status: 5 },
      ],
    );
  }
});

t.test("what is no SPDY/3 is refused", async (t) => {
  t.throws(() => [...new FrameParser().push(Buffer.from("8002000100000000", "hex"))], /version 2/);
  t.throws(() => [...new FrameParser().push(Buffer.from("80030001007fffff", "hex"))], /control frame/);
  t.throws(() => [...new FrameParser().push(Buffer.from("8003000300000000", "hex"))], /cut short/);
});

t.test("header blocks are read as other implementations compress them", async (t) => {
  const deflate = createDeflate({ dictionary: headerDictionary });
  const compress = async (plain: Buffer): Promise<Buffer> => {
    deflate.write(plain);
    await new Promise<void>((resolve) => {
      deflate.flush(constants.Z_SYNC_FLUSH, resolve);
    });
    return deflate.read() as Buffer;
  };
  const plain = Buffer.from("\0\0\0\x01\0\0\0\x0astreamType\0\0\0\x05stdin", "latin1");
  const reader = new HeaderReader();
  t.same(await reader.read(await compress(plain)), { streamtype: "stdin" });
  t.same(await reader.read(await compress(plain)), { streamtype: "stdin" }, "the second shares the context");
  reader.close();
  deflate.destroy();
});

t.test("header blocks come back as they were written", async (t) => {
  const reader = new HeaderReader();
  const writer = new HeaderWriter();
  t.same(await reader.read(writer.write({ streamType: "error", port: "80" })), {
    streamtype: "error",
    port: "80",
  });
  t.same(await reader.read(writer.write({})), {});
  await t.rejects(new HeaderReader().read(Buffer.from("nonsense")));
  reader.close();
});

t.test("streams carry bytes both ways and end each half alone", async (t) => {
  const { server, client } = pair((stream) => {
    stream.accept();
    void (async () => {
      for await (const chunk of stream) stream.write(chunk);
      stream.end("bye");
    })();
  });
  const stream = await client.open({ streamtype: "data" });
  const sent = randomBytes(3_000_000);
  stream.end(sent);
  const got = await readAll(stream);
  t.equal(got.subarray(-3).toString(), "bye");
  t.equal(hash(got.subarray(0, -3)), hash(sent));
  client.close();
  await Promise.all([client.closed, server.closed]);
});

t.test("a stream that nobody reads slows the peer instead of filling memory", async (t) => {
  let taken: SpdyStream | undefined;
  const { server, client } = pair((stream) => {
    taken = stream;
    stream.accept();
  });
  const stream = await client.open({});
  const block = Buffer.alloc(64 * 1024);
  let written = 0;
  const total = 400;
  void (async () => {
    for (let index = 0; index < total; index += 1) {
      await new Promise((resolve) => stream.write(block, resolve));
      written += 1;
    }
    stream.end();
  })();
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.ok(written < 60, `${written} blocks were taken while nobody read`);
  if (taken === undefined) throw new Error("no stream came");
  t.equal((await readAll(taken)).length, total * block.length);
  server.close();
  client.close();
  await Promise.all([client.closed, server.closed]);
});

t.test("a refused stream rejects open, and a lost connection ends every stream", async (t) => {
  const { server, client } = pair((stream) => {
    if (stream.headers["want"] === "no") stream.destroy();
    else stream.accept();
  });
  await t.rejects(client.open({ want: "no" }), /refused/);
  const stream = await client.open({ want: "yes" });
  const ended = readAll(stream);
  server.destroy();
  t.equal((await ended).length, 0);
  await client.closed;
  await t.rejects(client.open({}), /closed/);
});

function pair(onStream: (stream: SpdyStream) => void): { server: SpdySession; client: SpdySession } {
  const [left, right]: [Duplex, Duplex] = duplexPair();
  return {
    server: new SpdySession(left, "server", onStream),
    client: new SpdySession(right, "client", (stream) => stream.destroy()),
  };
}

async function readAll(stream: SpdyStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
