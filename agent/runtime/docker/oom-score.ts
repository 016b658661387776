import { readFileSync, writeFileSync } from "node:fs";

const file = "/proc/self/oom_score_adj";
/** What kubelet gives the sandbox: nearly last to be killed. */
const wanted = -998;

/** The wanted score, or 0 on a machine that does not let us lower it (no CAP_SYS_RESOURCE): runc would fail there. */
export function sandboxOomScore(): number {
  try {
    const now = readFileSync(file, "utf8");
    writeFileSync(file, String(wanted));
    writeFileSync(file, now);
    return wanted;
  } catch {
    return 0;
  }
}
