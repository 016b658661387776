import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { terminationFileName } from "../plan/container-config.ts";
import { annotation } from "../plan/names.ts";
import { endedRecord } from "../plan/pod-fixtures.ts";
import { terminationMessage } from "./termination-message.ts";

t.test(
  "LC17: the last words are the file's, else of a failure the log's, where that is asked for",
  async (t) => {
    const root = await mkdtemp(path.join(os.tmpdir(), "words-"));
    t.teardown(() => rm(root, { recursive: true, force: true }));
    const logPath = path.join(root, "0.log");
    const lines = Array.from({ length: 100 }, (_, n) => `2026-01-01T00:00:00.0Z stderr F line ${n}`);
    await writeFile(logPath, [...lines, "2026-01-01T00:00:00.0Z stdout P no end", ""].join("\n"));
    const asked = { annotations: { [annotation.terminationPolicy]: "FallbackToLogsOnError" }, logPath };
    const said = (ended: ReturnType<typeof endedRecord>) => terminationMessage(root, ended);

    t.equal(await said(endedRecord("web", 1, { logPath })), "", "nobody asked for the log");
    t.equal(await said(endedRecord("web", 0, asked)), "", "it ended well");
    const tail = await said(endedRecord("web", 1, asked));
    t.match(tail, /line 99\nno end$/);
    t.equal(tail.split("\n").length, 80);
    await writeFile(logPath, `2026-01-01T00:00:00.0Z stdout F ${"x".repeat(5_000)}\n`);
    t.equal((await said(endedRecord("web", 1, asked))).length, 2_048);

    const { podUid, name, attempt } = endedRecord("web", 1);
    const folder = path.join(root, "pods", podUid, "containers", name);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, terminationFileName(podUid, name, attempt)), "y".repeat(9_000));
    t.equal(await said(endedRecord("web", 1, asked)), "y".repeat(4_096), "the file goes first, cut");
  },
);
