/** What a peer can get wrong: the connection ends, with GOAWAY where it can be said, and nothing stays behind. */
import { type Duplex, duplexPair } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { deflateSync, constants } from "node:zlib";
import t from "tap";
import { fuzz, mutateBytes } from "../../test/support/mutate.ts";
import { headerDictionary } from "./dictionary.ts";
import { type Frame, FrameParser, formatData, formatPing, formatReset, formatSynStream } from "./frames.ts";
import { HeaderReader, HeaderWriter } from "./header-block.ts";
import { SpdySession } from "./session.ts";

t.test("agent §2.3: headers that inflate without end are given up at 64 KiB", async (t) => {
  const bomb = deflateSync(Buffer.alloc(256 * 1024 * 1024), {
    dictionary: headerDictionary,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  t.ok(bomb.length < 256 * 1024, `a block of ${bomb.length} bytes would be 256 MiB`);
  const reader = new HeaderReader();
  const before = process.memoryUsage.rss();
  await t.rejects(reader.read(bomb), /more than 64 KiB/);
  t.ok(process.memoryUsage.rss() - before < 32 * 1024 * 1024, "and takes no memory");
  await t.rejects(reader.read(Buffer.from([0])), /closed/);

  const { session, sent } = server();
  const block = new HeaderWriter().write({ streamtype: "data" });
  sent(Buffer.concat([formatSynStream(1, block, false), formatSynStream(3, bomb, false)]));
  await session.closed;
});

t.test("agent §2.3: a peer that breaks SPDY is told so by GOAWAY", async (t) => {
  const block = new HeaderWriter().write({});
  const cases = [
    { name: "another version", bytes: Buffer.from("8002000100000000", "hex") },
    { name: "a frame cut short", bytes: Buffer.from("8003000300000000", "hex") },
    { name: "a stream with the other side's number", bytes: formatSynStream(2, block, false) },
    { name: "headers that are no zlib", bytes: formatSynStream(1, Buffer.from("nonsense"), false) },
    { name: "headers that end their compression", bytes: formatSynStream(1, ended(), false) },
    { name: "a header longer than its block", bytes: formatSynStream(1, lying(), false) },
  ];
  for (const { name, bytes } of cases) {
    const { session, sent, answers } = server();
    sent(bytes);
    if (name.includes("end their")) sent(formatSynStream(3, block, false));
    await session.closed;
    t.match((await answers()).at(-1), { type: "go-away", status: 1 }, name);
  }
});

t.test("agent §2.3: a peer that asks and never reads is not read either", async (t) => {
  const [ours, theirs] = duplexPair();
  const session = new SpdySession(ours, "server", (stream) => stream.accept());
  const pings = Buffer.concat(Array.from({ length: 5_000 }, (_, index) => formatPing(2 * index + 1)));
  let taken = 0;
  void (async () => {
    while (!theirs.destroyed) {
      await new Promise<void>((resolve) => theirs.write(pings, () => resolve()));
      taken += 1;
    }
  })();
  await standstill(() => taken);
  t.ok(taken > 0 && taken < 20, `${taken} times 5000 pings were taken`);
  t.ok(ours.writableLength < 1024 * 1024, `${ours.writableLength} bytes wait to be sent`);
  session.destroy();
  theirs.destroy();
  await session.closed;
});

t.test("agent §2.3: pieces of one byte that nobody reads are counted for what they cost", async (t) => {
  const [ours, theirs] = duplexPair();
  const session = new SpdySession(ours, "server", (stream) => stream.accept());
  theirs.resume();
  theirs.write(formatSynStream(1, new HeaderWriter().write({}), false));
  const pieces = Buffer.concat(Array.from({ length: 1_000 }, () => formatData(1, Buffer.from("x"), false)));
  let taken = 0;
  void (async () => {
    while (!theirs.destroyed) {
      await new Promise<void>((resolve) => theirs.write(pieces, () => resolve()));
      taken += 1;
    }
  })();
  await standstill(() => taken);
  t.ok(taken > 0 && taken < 50, `${taken} times 1000 pieces were taken`);
  session.destroy();
  theirs.destroy();
  await session.closed;
});

t.test("agent §2.3: no mutated connection crashes or hangs the session", async (t) => {
  const writer = new HeaderWriter();
  const good = Buffer.concat([
    formatSynStream(1, writer.write({ streamtype: "error", port: "80", requestid: "0" }), false),
    formatSynStream(3, writer.write({ streamtype: "data", port: "80", requestid: "0" }), false),
    formatData(3, Buffer.from("hello"), false),
    formatPing(1),
    formatData(1, Buffer.alloc(0), true),
    formatReset(1, 5),
    formatData(3, Buffer.from("bye"), true),
  ]);
  const ran = await fuzz(3_000, 6_000, async (random) => {
    const [ours, theirs] = duplexPair();
    const session = new SpdySession(ours, "server", (stream) => {
      stream.accept();
      stream.resume();
      stream.end("answer");
    });
    theirs.resume();
    theirs.on("error", () => {});
    theirs.end(mutateBytes(random, good));
    await Promise.race([session.closed, delay(5_000, undefined, { ref: false }).then(hung)]);
  });
  t.ok(ran > 500, `${ran} connections`);
});

/** Resolves once something was counted and then nothing more for many turns of the event loop. */
async function standstill(count: () => number): Promise<void> {
  for (let last = 0, quiet = 0; quiet < 500; quiet += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    if (count() === 0 || count() !== last) quiet = 0;
    last = count();
  }
}

function hung(): never {
  throw new Error("the session did not end");
}

/** A session and its peer, that writes bytes and collects the frames that come back. */
function server(): {
  readonly session: SpdySession;
  readonly sent: (bytes: Buffer) => void;
  readonly answers: () => Promise<readonly Frame[]>;
} {
  const [ours, theirs]: [Duplex, Duplex] = duplexPair();
  const session = new SpdySession(ours, "server", (stream) => stream.accept());
  const parser = new FrameParser();
  const frames: Frame[] = [];
  const all = (async () => {
    for await (const chunk of theirs) frames.push(...parser.push(chunk as Buffer));
    return frames;
  })();
  return { session, sent: (bytes) => void theirs.write(bytes), answers: () => all };
}

/** A block after which zlib says that nothing more comes. */
function ended(): Buffer {
  return deflateSync(Buffer.alloc(4), { dictionary: headerDictionary });
}

/** One header whose name says that it is 4 GiB long. */
function lying(): Buffer {
  const plain = Buffer.from("00000001ffffffff61", "hex");
  return deflateSync(plain, { dictionary: headerDictionary, finishFlush: constants.Z_SYNC_FLUSH });
}
