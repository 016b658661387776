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

t.test("a parked pod waits for a change, and then for the end of its back-off", async (t) => {
  const clock = new FakeClock();
  const queue = new SchedulingQueue(clock);
  queue.add("a", 0);
  await queue.next(never);
  queue.park("a");
  await clock.advance(10_000);
  t.same(queue.depth, { active: 0, parked: 1 });
  queue.wakeAll();
  t.equal(await queue.next(never), "a", "its back-off of 1 s is over");
  queue.park("a");
  queue.wakeAll();
  let came = false;
  const next = queue.next(never).then(() => (came = true));
  await clock.advance(1_999);
  t.equal(came, false);
  await clock.advance(1);
  await next;
  t.equal(came, true);
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
