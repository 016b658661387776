import { errorText } from "#lib/log.ts";
import type { CommandIo } from "../command.ts";

/** Runs steps one after another and says one line a step, with its time. */
export async function step<T>(io: CommandIo, title: string, work: () => Promise<T>): Promise<T> {
  const startedMs = performance.now();
  try {
    const result = await work();
    const note = typeof result === "string" && result !== "" ? ` (${result})` : "";
    io.out(`  ok    ${title}${note} ${seconds(startedMs)}\n`);
    return result;
  } catch (cause) {
    io.out(`  FAIL  ${title} ${seconds(startedMs)}\n`);
    throw new Error(`${title}: ${errorText(cause)}`, { cause });
  }
}

function seconds(startedMs: number): string {
  return `${((performance.now() - startedMs) / 1_000).toFixed(2)} s`;
}
