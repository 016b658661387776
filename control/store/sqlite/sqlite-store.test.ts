import { spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { storeContract } from "../store-contract.ts";
import { SqliteStore } from "./sqlite-store.ts";

const signal = new AbortController().signal;
const text = (value: string): Uint8Array => Buffer.from(value);

storeContract(t, "sqlite", async () => new SqliteStore(":memory:", new FakeClock()));

async function directory(): Promise<AsyncDisposable & { readonly file: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), "keelson-store-"));
  return {
    file: path.join(folder, "state.db"),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

t.test("what was written is there after closing and opening, revision included", async (t) => {
  await using place = await directory();
  const first = new SqliteStore(place.file, new FakeClock());
  await first.put("a", text("1"), 0n, signal);
  const revision = await first.revision(signal);
  await first.close();
  const second = new SqliteStore(place.file, new FakeClock());
  t.equal(await second.revision(signal), revision);
  t.equal(Buffer.from((await second.get("a", signal))?.value ?? []).toString(), "1");
  await second.close();
});

t.test("a file that is no store is refused by name, and so is one in use", async (t) => {
  await using place = await directory();
  const first = new SqliteStore(place.file, new FakeClock());
  await first.put("a", text("1"), 0n, signal);
  const script = `
    import { SqliteStore } from "${path.join(import.meta.dirname, "sqlite-store.ts")}";
    import { systemClock } from "#lib/clock.ts";
    try { new SqliteStore(${JSON.stringify(place.file)}, systemClock); console.log("opened"); }
    catch (cause) { console.log(cause.message, String(cause.cause)); }`;
  const { lines } = await run(script);
  t.match(lines.join("\n"), /cannot open the store.*locked/s);
  await first.close();
});

t.test("nothing that was acknowledged is lost when the process is killed", async (t) => {
  await using place = await directory();
  const script = `
    import { SqliteStore } from "${path.join(import.meta.dirname, "sqlite-store.ts")}";
    import { systemClock } from "#lib/clock.ts";
    import { writeSync } from "node:fs";
    const store = new SqliteStore(${JSON.stringify(place.file)}, systemClock);
    const signal = new AbortController().signal;
    const writer = async (name) => {
      for (let at = 0; ; at += 1) {
        const result = await store.put(name + at, Buffer.from("value " + at), 0n, signal);
        writeSync(1, name + at + " " + result.revision + "\\n");
      }
    };
    await Promise.all(["a", "b", "c"].map(writer));`;
  const { lines } = await run(script, 300);
  t.ok(lines.length > 10, `${lines.length} writes were acknowledged before the kill`);
  const store = new SqliteStore(place.file, new FakeClock());
  let lost = 0;
  for (const line of lines) {
    const [key = "", revision = ""] = line.split(" ");
    if ((await store.get(key, signal))?.modRevision !== BigInt(revision)) lost += 1;
  }
  t.equal(lost, 0);
  await store.close();
});

t.test("a full disk refuses with code full, changes nothing, and the store goes on", async (t) => {
  const store = new SqliteStore(":memory:", new FakeClock(), { maxPages: 40 });
  await store.put("small", text("kept"), 0n, signal);
  const revision = await store.revision(signal);
  const batch = [
    store.put("big", new Uint8Array(400_000), 0n, signal),
    store.put("with-it", text("x"), 0n, signal),
  ];
  const results = await Promise.allSettled(batch);
  t.same(
    results.map((result) => result.status === "rejected" && (result.reason as { code?: string }).code),
    ["full", "full"],
    "the whole transaction is refused",
  );
  t.equal(await store.revision(signal), revision);
  t.equal(await store.get("with-it", signal), undefined);
  t.equal((await store.put("after", text("fits"), 0n, signal)).state, "written");
  await store.close();
});

t.test("history is bounded by rows and by age, and current state stays", async (t) => {
  const clock = new FakeClock();
  const store = new SqliteStore(":memory:", clock, { logRows: 1_000, logAgeMs: 1_000 });
  const writes = Array.from({ length: 2_500 }, (_, at) => store.put(`k${at}`, text("x"), 0n, signal));
  await Promise.all(writes);
  await t.rejects(store.range("", { revision: 2n }, signal), { code: "compacted" });
  const recent = (await store.revision(signal)) - 10n;
  t.equal((await store.range("k", { revision: recent }, signal)).entries.length, 2_490);
  await clock.advance(1_000);
  await clock.advance(1_000);
  await t.rejects(store.range("", { revision: recent }, signal), { code: "compacted" });
  t.equal((await store.range("k", {}, signal)).entries.length, 2_500);
  await store.close();
});

t.test("a reader that does not read is dropped with code slow", async (t) => {
  const store = new SqliteStore(":memory:", new FakeClock(), { watchBuffer: 5 });
  const from = await store.revision(signal);
  const changes = store.watch("", from, signal)[Symbol.asyncIterator]();
  const first = changes.next();
  await store.put("k", text("x"), 0n, signal);
  await first;
  await Promise.all(Array.from({ length: 9 }, (_, at) => store.put(`k${at}`, text("x"), 0n, signal)));
  const failing = (async () => {
    for (;;) await changes.next();
  })();
  await t.rejects(failing, { code: "slow" });
  await store.close();
});

t.test("the write-ahead log does not grow without bound", async (t) => {
  await using place = await directory();
  const store = new SqliteStore(place.file, new FakeClock(), { logRows: 100 });
  let revision = 0n;
  for (let at = 0; at < 400; at += 1) {
    const result = await store.put("k", new Uint8Array(20_000), revision, signal);
    if (result.state === "written") revision = result.revision;
  }
  t.ok((await stat(`${place.file}-wal`)).size < 6_000_000);
  await store.close();
});

/** Runs a program and gives its output; killed with SIGKILL `killAfterMs` after its first line. */
async function run(script: string, killAfterMs?: number): Promise<{ readonly lines: readonly string[] }> {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script], {
    cwd: path.join(import.meta.dirname, "../../.."),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    if (output === "" && killAfterMs !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    output += chunk.toString("utf8");
  });
  await new Promise((resolve) => child.once("close", resolve));
  const complete = output.slice(0, output.lastIndexOf("\n"));
  return { lines: complete.split("\n").filter((line) => line !== "") };
}
