import t from "tap";
import { FakeClock } from "./clock.ts";
import { WorkQueue } from "./work-queue.ts";

function queue(clock: FakeClock): WorkQueue<string> {
  return new WorkQueue<string>({ limit: 3, backoff: { firstMs: 100, maxMs: 1_000 }, clock });
}

t.test("a key marked twice comes once", async (t) => {
  const dirty = queue(new FakeClock());
  dirty.add("a");
  dirty.add("a");
  t.equal(dirty.length, 1);
});
t.test("a key marked while it is worked on comes again afterwards, not meanwhile", async (t) => {
  const dirty = queue(new FakeClock());
  const stop = new AbortController();
  dirty.add("a");
  const keys = dirty.take(stop.signal);
  await keys.next();
  dirty.add("a");
  dirty.add("b");
  t.equal((await keys.next()).value, "b");
  dirty.done("a");
  t.equal((await keys.next()).value, "a");
  stop.abort();
});
t.test("a key that failed comes later each time", async (t) => {
  const clock = new FakeClock();
  const dirty = queue(clock);
  const keys = dirty.take(AbortSignal.any([]));
  dirty.add("a");
  await keys.next();
  dirty.retry("a", new Error("no"));
  t.equal(dirty.length, 0);
  await clock.advance(100);
  t.equal(dirty.length, 1);
  await keys.next();
  dirty.retry("a", new Error("no"));
  await clock.advance(199);
  t.equal(dirty.length, 0);
  await clock.advance(1);
  t.equal(dirty.length, 1);
  t.equal(dirty.failing.get("a")?.count, 2);
});
t.test("ML2: keys that failed together do not come again together", async (t) => {
  const clock = new FakeClock();
  const random = [0, 0.5][Symbol.iterator]();
  const dirty = new WorkQueue<string>({
    limit: 3,
    backoff: { firstMs: 100, maxMs: 1_000 },
    clock,
    random: () => random.next().value ?? 0,
  });
  const keys = dirty.take(AbortSignal.any([]));
  for (const key of ["a", "b"]) {
    dirty.add(key);
    await keys.next();
    dirty.retry(key, new Error("no"));
  }
  await clock.advance(50);
  t.equal(dirty.length, 1);
  await clock.advance(24);
  t.equal(dirty.length, 1);
  await clock.advance(1);
  t.equal(dirty.length, 2);
});
t.test("one key more than the limit is refused by name", async (t) => {
  const dirty = queue(new FakeClock());
  for (const key of ["a", "b", "c"]) dirty.add(key);
  t.throws(() => dirty.add("d"), /"d".*3 keys/);
});
t.test("taking ends with the signal", async (t) => {
  const stop = new AbortController();
  const next = queue(new FakeClock()).take(stop.signal).next();
  stop.abort();
  t.equal((await next).done, true);
});
