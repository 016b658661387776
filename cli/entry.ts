/** The program's first file: only here are the command line, the environment and signals read. */
import { writeSync } from "node:fs";
import path from "node:path";
import { runCommand } from "./main.ts";

const stop = new AbortController();
for (const name of ["SIGTERM", "SIGINT"] as const) {
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
}
const write = (fd: number) => (text: string) => {
  try {
    writeSync(fd, text);
  } catch {
    // The reader is gone (`keelson ... | head`): there is nobody left to tell.
  }
};
process.exitCode = await runCommand(
  process.argv.slice(2),
  {
    program: path.join(path.dirname(process.argv[1] ?? ""), "keelson"),
    env: process.env,
    out: write(1),
    err: write(2),
  },
  stop.signal,
);
// A command has ended all it started; what is still open (an idle keep-alive socket) must not hold the process.
process.exit();
