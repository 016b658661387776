import type { Runtime } from "./runtime.ts";

/** Stands between the caller and one call: it goes on with `proceed`, or does not. */
export type CallWatch = (
  call: string,
  args: readonly unknown[],
  proceed: () => Promise<unknown>,
) => Promise<unknown>;

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

/** The same runtime with every call but `events` and `close` watched. */
export function watchedRuntime(runtime: Runtime, watch: CallWatch): Runtime {
  const wrapped = new Map<string, unknown>();
  return new Proxy(runtime, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function" || typeof name !== "string") return value;
      const known = wrapped.get(name);
      if (known !== undefined) return known;
      const call = async (...args: readonly unknown[]): Promise<unknown> =>
        await watch(name, args, async () => await Reflect.apply(value, target, args));
      const method: unknown = name === "events" || name === "close" ? value.bind(target) : call;
      wrapped.set(name, method);
      return method;
    },
  });
}
