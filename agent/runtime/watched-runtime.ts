import type { Runtime } from "./runtime.ts";

/** What changes something in the runtime: between two of these an agent may die with nothing half done. */
export const changingCalls: ReadonlySet<string> = new Set([
  "runSandbox",
  "stopSandbox",
  "removeSandbox",
  "createContainer",
  "startContainer",
  "stopContainer",
  "removeContainer",
  "execSync",
]);

/** Told before and after each call; what it awaits holds the call up. */
export type CallWatch = (call: string, when: "before" | "after") => Promise<void>;

/** A runtime whose calls are watched: for tests that stop an agent, or hold it up, at one of them. */
export function watchedRuntime(runtime: Runtime, watch: CallWatch): Runtime {
  return new Proxy(runtime, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      if (typeof name !== "string" || name === "events" || name === "close")
        return value.bind(target) as unknown;
      return async (...args: readonly unknown[]): Promise<unknown> => {
        await watch(name, "before");
        const result: unknown = await Reflect.apply(value, target, args);
        await watch(name, "after");
        return result;
      };
    },
  });
}
