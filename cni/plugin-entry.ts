import fs from "node:fs";
import { runCni, systemPorts } from "./main.ts";

/** The plugin as a program: a runtime starts it for every call, so it loads as little as can be. */
// No await: the bundle is CommonJS, which starts faster. It never fails.
void runCni(process.env, readStdin(), systemPorts).then(({ stdout, exitCode }) => {
  fs.writeSync(1, stdout === "" ? "" : `${stdout}\n`);
  process.exitCode = exitCode;
});

/** VERSION may be asked without any input. */
function readStdin(): string {
  try {
    return fs.readFileSync(0, "utf8");
  } catch {
    return "";
  }
}
