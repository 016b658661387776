/** docs/features.md is what we claim; here is what can be checked of it without running every test that it names. */
import { existsSync } from "node:fs";
import { glob, readFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";

const root = path.join(import.meta.dirname, "..");
const states = ["works", "partly", "not yet"] as const;

/** Rows with letters: prefix -> how many there are. */
const numbered: Readonly<Record<string, number>> = {
  PS: 8,
  ML: 8,
  LC: 23,
  PR: 10,
  HK: 4,
  VO: 17,
  EN: 5,
  HN: 3,
  RS: 15,
  SC: 9,
  EV: 8,
  IM: 7,
  GC: 1,
  LG: 4,
  ND: 12,
};
/** Rows that are sections of a checklist: section -> how many items it has. */
const sections: Readonly<Record<string, number>> = {
  "agent §2": 6,
  "agent §3": 5,
  "agent §4": 2,
  "network §1": 6,
  "network §3": 7,
  "network §4": 2,
  "network §6": 31,
  "control §0": 10,
  "control §2": 14,
  "control §3": 3,
};
const controllers = `
  serviceaccount-token serviceaccount legacy-serviceaccount-token-cleaner root-ca-certificate-publisher
  replicaset replicationcontroller deployment daemonset statefulset job cronjob ttl-after-finished
  horizontal-pod-autoscaler disruption endpoints endpointslice endpointslicemirroring service-cidr
  namespace garbage-collector resourcequota pod-garbage-collector node-lifecycle taint-eviction node-ipam
  ttl persistentvolume-binder attach-detach expander ephemeral-volume pvc-protection pv-protection
  volumeattributesclass-protection csr-approving csr-signing csr-cleaner bootstrap-signer token-cleaner
  clusterrole-aggregation storageversion-gc storage-version-migrator resourceclaim device-taint-eviction
  validatingadmissionpolicy-status selinux-warning podcertificaterequest-cleaner
`;
const ids: readonly string[] = [
  ...Object.entries(numbered).flatMap(([prefix, count]) => upTo(count).map((n) => `${prefix}${n}`)),
  ...Object.entries(sections).flatMap(([section, count]) => upTo(count).map((n) => `${section}.${n}`)),
  "network §2a",
  "network §2b",
  "network §2c",
  "control §4.1",
  "control §5",
  "control §6",
  ...controllers
    .trim()
    .split(/\s+/)
    .map((name) => `control §4.2 ${name}`),
  ...upTo(9).map((n) => `story ${n}`),
];

interface Row {
  readonly part: string;
  readonly id: string;
  readonly state: string;
  readonly shownBy: string;
}

const text = await readFile(path.join(root, "docs/features.md"), "utf8");
const rows: readonly Row[] = tableRows(text)
  .filter((cells) => cells.length === 4)
  .map(([id = "", , state = "", shownBy = ""]) => ({ part: partOf(id), id, state, shownBy }));

t.test("every row is there once, and no other", async (t) => {
  const found = rows.map(({ id }) => id);
  t.same(
    ids.filter((id) => !found.includes(id)),
    [],
    "missing",
  );
  t.same(
    found.filter((id, index) => !ids.includes(id) || found.indexOf(id) !== index),
    [],
    "unknown or twice",
  );
});

t.test(
  "a state is one of three; what works names a test, what is partly there says what is missing",
  async (t) => {
    for (const { id, state, shownBy } of rows) {
      if (!states.some((one) => one === state)) t.fail(`${id}: "${state}" is no state`);
      if (state === "works" && testsOf(shownBy).length === 0) t.fail(`${id} works, and no test shows it`);
      if (state === "works" && shownBy.includes("missing:")) t.fail(`${id} works, and something is missing`);
      if (state === "partly" && !/missing: \S/.test(shownBy)) t.fail(`${id}: what is missing?`);
    }
    t.pass();
  },
);

t.test("every test that is named exists under its name", async (t) => {
  const sources = new Map<string, string>();
  for (const { id, shownBy } of rows) {
    for (const { file, names } of testsOf(shownBy)) {
      const known = sources.get(file) ?? (await readFile(path.join(root, file), "utf8").catch(() => ""));
      sources.set(file, known);
      if (known === "") t.fail(`${id}: there is no "${file}"`);
      for (const name of names) if (!known.includes(name)) t.fail(`${id}: "${file}" has no test "${name}"`);
    }
  }
  t.pass();
});

t.test("the table of counts is the rows'", async (t) => {
  const counted = new Map(
    tableRows(text)
      .filter((cells) => cells.length === 5)
      .map(([part = "", ...numbers]) => [part, numbers.map(Number)]),
  );
  for (const part of ["agent", "network", "control", "story", "all"]) {
    const its = rows.filter((row) => part === "all" || row.part === part);
    const counts = states.map((state) => its.filter((row) => row.state === state).length);
    t.same(counted.get(part), [...counts, its.length], part);
  }
});

t.test("every link between the documents leads somewhere", async (t) => {
  for await (const file of glob("{*.md,docs/**/*.md,{agent,proxy,overlay,cni,control,linux}/**/*.md}", {
    cwd: root,
  })) {
    const source = await readFile(path.join(root, file), "utf8");
    for (const [, link = ""] of source.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (/^\w+:/.test(link)) continue;
      if (!existsSync(path.join(root, path.dirname(file), link))) t.fail(`${file}: "${link}" is not there`);
    }
  }
  t.pass();
});

/** The cells of every row of every table, without heads and rulers. */
function tableRows(markdown: string): readonly (readonly string[])[] {
  return markdown
    .split("\n")
    .filter((line, index, lines) => line.startsWith("| ") && !(lines[index + 1] ?? "").startsWith("|---"))
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
}

/** `path` "name" "name" in a row's last cell. */
function testsOf(cell: string): readonly { readonly file: string; readonly names: readonly string[] }[] {
  return [...cell.matchAll(/`([\w./-]+\.test\.ts)`((?: "[^"]*")*)/g)].map(([, file = "", names = ""]) => ({
    file,
    names: [...names.matchAll(/"([^"]*)"/g)].map(([, name = ""]) => name),
  }));
}

function partOf(id: string): string {
  const [first = ""] = id.split(" ");
  return ["network", "control", "story"].includes(first) ? first : "agent";
}

function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
