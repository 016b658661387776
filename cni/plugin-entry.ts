import fs from "node:fs";
import { runCni, systemPorts } from "./main.ts";

/** The plugin as a program: a runtime starts it for every call, so it loads as little as can be. */
const { stdout, exitCode } = await runCni(process.env, readStdin(), systemPorts);
fs.writeSync(1, stdout === "" ? "" : `${stdout}\n`);
process.exitCode = exitCode;

/** VERSION may be asked without any input. */
function readStdin(): string {
  try {
    return fs.readFileSync(0, "utf8");
  } catch {
    return "";
  }
}
