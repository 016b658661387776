import { execFile } from "node:child_process";

/** Runs a command to its end and gives its standard output. @throws with its standard error when it fails. */
export function run(program: string, ...args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { timeout: 60_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`"${program} ${args.join(" ")}" failed: ${stderr.trim()}`, { cause: error }));
    });
  });
}
