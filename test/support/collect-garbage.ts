import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let run: (() => void) | undefined;

/** Collects all garbage now: what is counted afterwards is in use. */
export function collectGarbage(): void {
  run ??= exposed();
  run();
}

function exposed(): () => void {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("gc");
  if (typeof gc !== "function") throw new Error("this V8 has no gc()");
  return () => void Reflect.apply(gc, undefined, []);
}
