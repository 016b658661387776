import { type ProgramOptions, runProgram } from "#linux/run-program.ts";

/** A directory with very many files takes long; the next look is for the next time. */
const options: ProgramOptions = { timeoutMs: 30_000 };

/**
 * Bytes that a directory takes on the disk, of its own filesystem only. Measured by `du`, so that counting a million
 * files holds nobody else up.
 * @returns undefined when it cannot be told now: files come and go while they are counted.
 */
export async function diskUse(directory: string, signal: AbortSignal): Promise<number | undefined> {
  const { output } = await runProgram("du", ["-skx", directory], options, signal).catch(() => {
    signal.throwIfAborted();
    return { output: "" };
  });
  // It ends with 1 when a file went away meanwhile, and has counted the others.
  const kibibytes = /^(\d+)\t/.exec(output)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1_024;
}
