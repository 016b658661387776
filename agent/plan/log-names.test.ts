import t from "tap";
import { attemptAfterLogs } from "./log-names.ts";

const cases: readonly {
  readonly name: string;
  readonly files: readonly string[];
  readonly attempt: number;
}[] = [
  { name: "LC14: a restart count goes on from no log", files: [], attempt: 0 },
  { name: "LC14: a restart count goes on from one log", files: ["0.log"], attempt: 1 },
  {
    name: "LC14: a restart count goes on from the highest number, as a number",
    files: ["9.log", "10.log", "2.log"],
    attempt: 11,
  },
  {
    name: "LC14: a restart count goes on from rotated and packed logs",
    files: ["3.log.20260101-000000.gz", "2.log"],
    attempt: 4,
  },
  {
    name: "LC14: a restart count goes on from files of others",
    files: ["x.log", "5.log~", "5.logs", "-1.log", "7", "99999999999999999999.log"],
    attempt: 0,
  },
];
for (const { name, files, attempt } of cases) {
  t.test(
    `LC14: a restart count goes on from ${name}`,
    async (t) => void t.equal(attemptAfterLogs(files), attempt),
  );
}
