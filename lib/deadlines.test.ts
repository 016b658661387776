import t from "tap";
import { FakeClock } from "./clock.ts";
import { Deadlines } from "./deadlines.ts";

t.test("deadlines come in the order of their time, whatever order they were set in", async (t) => {
  const clock = new FakeClock();
  const startMs = clock.monotonicMs();
  const seen: (readonly [number, number])[] = [];
  const deadlines = new Deadlines<number>(clock, (key) => seen.push([key, clock.monotonicMs() - startMs]));
  // A fixed shuffle of 1 to 500.
  const times = Array.from({ length: 500 }, (_, i) => ((i * 217) % 500) + 1);
  for (const ms of times) deadlines.set(ms, startMs + ms * 10);
  t.equal(deadlines.size, 500);
  await clock.advance(5_000);
  t.same(
    seen.map(([key]) => key),
    times.toSorted((a, b) => a - b),
  );
  t.ok(seen.every(([key, at]) => at === key * 10));
  t.equal(deadlines.size, 0);
});

t.test("a deadline can be moved both ways and taken back", async (t) => {
  const clock = new FakeClock();
  const startMs = clock.monotonicMs();
  const seen: string[] = [];
  const deadlines = new Deadlines<string>(clock, (key, atMs) => seen.push(`${key} ${atMs - startMs}`));
  deadlines.set("later", startMs + 100);
  deadlines.set("later", startMs + 300);
  deadlines.set("sooner", startMs + 400);
  deadlines.set("sooner", startMs + 200);
  deadlines.set("never", startMs + 50);
  deadlines.delete("never");
  await clock.advance(1_000);
  t.same(seen, ["sooner 200", "later 300"]);
});

t.test(
  "keys set again from the call itself keep their pace, and set and deleted ones leave nothing",
  async (t) => {
    const clock = new FakeClock();
    const startMs = clock.monotonicMs();
    let count = 0;
    const deadlines = new Deadlines<string>(clock, (key, atMs) => {
      count += 1;
      deadlines.set(key, atMs + 10);
    });
    deadlines.set("tick", startMs + 10);
    await clock.advance(1_000);
    t.equal(count, 100);
    for (let i = 0; i < 1_000; i += 1) {
      deadlines.set(`k${i}`, startMs + 100_000 + i);
      deadlines.delete(`k${i}`);
    }
    t.equal(deadlines.size, 1);
    deadlines.close();
    await clock.advance(1_000);
    t.equal(count, 100, "nothing after close");
  },
);

t.test("of deadlines at the same time the one that was set first comes first", async (t) => {
  const clock = new FakeClock();
  const seen: number[] = [];
  const deadlines = new Deadlines<number>(clock, (key) => seen.push(key));
  const keys = Array.from({ length: 50 }, (_, i) => i);
  for (const key of keys) deadlines.set(key, clock.monotonicMs() + 10);
  await clock.advance(10);
  t.same(seen, keys);
});
