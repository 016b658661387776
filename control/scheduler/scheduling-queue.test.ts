import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { SchedulingQueue } from "./scheduling-queue.ts";

const never = new AbortController().signal;

t.test("the highest priority comes first, then the oldest", async (t) => {
  const queue = new SchedulingQueue(new FakeClock());
  for (const [key, priority] of [
    ["a", 0],
    ["b", 10],
    ["c", 10],
    ["d", 5],
    ["e", 0],
  ] as const)
    queue.add(key, priority);
  const order = [];
  for (let count = 0; count < 5; count += 1) order.push(await queue.next(never));
  t.same(order, ["b", "c", "d", "a", "e"]);
});

t.test("a parked pod waits for a change, and is then tried at once when nothing else waits", async (t) => {
  const clock = new FakeClock();
  const queue = new SchedulingQueue(clock);
  queue.add("a", 0);
  await queue.next(never);
  queue.park("a");
  await clock.advance(10_000);
  t.same(queue.depth, { active: 0, parked: 1 });
  queue.wakeAll();
  t.equal(await queue.next(never), "a");
  queue.park("a");
  queue.add("b", 0);
  queue.wakeAll();
  t.equal(await queue.next(never), "b", "a pod in its back-off gives way");
  t.equal(await queue.next(never), "a");
  queue.close();
});

t.test("a failed binding waits out its back-off, longer each time", async (t) => {
  const clock = new FakeClock();
  const queue = new SchedulingQueue(clock);
  queue.add("a", 0);
  for (const waitMs of [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]) {
    await queue.next(never);
    queue.retry("a");
    let came = false;
    const stop = new AbortController();
    const next = queue.next(stop.signal).then((key) => (came = key === "a"));
    await clock.advance(waitMs - 1);
    t.equal(came, false);
    stop.abort();
    await next;
    await clock.advance(1);
  }
  t.equal(await queue.next(never), "a");
  queue.close();
});

t.test("a hundred woken pods are tried early, more wait for their time", async (t) => {
  const clock = new FakeClock();
  const queue = new SchedulingQueue(clock);
  const keys = Array.from({ length: 101 }, (_, at) => `p${at}`);
  for (const key of keys) queue.add(key, 0);
  for (const _ of keys) await queue.next(never);
  for (const key of keys) queue.park(key);
  queue.wakeAll();
  const stop = new AbortController();
  const next = queue.next(stop.signal);
  stop.abort();
  t.equal(await next, undefined);
  await clock.advance(1_000);
  t.equal(await queue.next(never), "p0");
  queue.close();
});

t.test("a pod that was removed while it waited is not given out", async (t) => {
  const queue = new SchedulingQueue(new FakeClock());
  queue.add("a", 5);
  queue.add("b", 0);
  queue.remove("a");
  t.equal(await queue.next(never), "b");
});

t.test("taking ends with the signal", async (t) => {
  const stop = new AbortController();
  const next = new SchedulingQueue(new FakeClock()).next(stop.signal);
  stop.abort();
  t.equal(await next, undefined);
});
