import t from "tap";
import { together } from "./together.ts";

const until = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));

t.test("the first failure stops the rest and is what the caller sees", async (t) => {
  let stopped = false;
  const failing = together(
    AbortSignal.any([]),
    async () => Promise.reject(new Error("broken")),
    async (signal) => {
      await until(signal);
      stopped = true;
    },
  );
  await t.rejects(failing, { message: "broken" });
  t.ok(stopped);
});
t.test("it ends quietly when the caller stops it", async (t) => {
  const stop = new AbortController();
  const running = together(stop.signal, until, async (signal) => {
    await until(signal);
    throw new Error("because it was stopped");
  });
  stop.abort();
  await t.resolves(running);
});
