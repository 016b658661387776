import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import { type EmptyDirKind, emptyDirKind } from "./empty-dir.ts";
import { testContainer, testPod } from "./pod-fixtures.ts";

const mebi = 1_048_576;
const limited = (...lists: readonly Readonly<Record<string, string>>[]): Pod =>
  testPod({
    containers: lists.map((limits, index) => testContainer(`c${index}`, { resources: { limits } })),
  });

const cases: readonly {
  readonly name: string;
  readonly pod: Pod;
  readonly medium?: string;
  readonly sizeLimit?: string;
  readonly is: EmptyDirKind | string;
}[] = [
  { name: "on disk", pod: testPod(), is: { kind: "disk" } },
  { name: "a limit on disk is not the mount's", pod: testPod(), sizeLimit: "1Mi", is: { kind: "disk" } },
  {
    name: "memory without any limit is the node's",
    pod: testPod(),
    medium: "Memory",
    is: { kind: "memory", sizeBytes: 512 * mebi },
  },
  {
    name: "memory of a Pod whose containers are limited is their sum",
    pod: limited({ memory: "64Mi" }, { memory: "32Mi" }),
    medium: "Memory",
    is: { kind: "memory", sizeBytes: 96 * mebi },
  },
  {
    name: "memory of a Pod of which one container has no limit is the node's",
    pod: limited({ memory: "64Mi" }, {}),
    medium: "Memory",
    is: { kind: "memory", sizeBytes: 512 * mebi },
  },
  {
    name: "memory of a Pod with a limit of its own",
    pod: testPod({ resources: { limits: { memory: "20Mi" } } }),
    medium: "Memory",
    is: { kind: "memory", sizeBytes: 20 * mebi },
  },
  {
    name: "a smaller limit of the volume counts",
    pod: limited({ memory: "64Mi" }),
    medium: "Memory",
    sizeLimit: "8Mi",
    is: { kind: "memory", sizeBytes: 8 * mebi },
  },
  {
    name: "a larger one does not",
    pod: limited({ memory: "64Mi" }),
    medium: "Memory",
    sizeLimit: "1Gi",
    is: { kind: "memory", sizeBytes: 64 * mebi },
  },
  {
    name: "zero is no limit",
    pod: limited({ memory: "64Mi" }),
    medium: "Memory",
    sizeLimit: "0",
    is: { kind: "memory", sizeBytes: 64 * mebi },
  },
  {
    name: "the only size of huge pages",
    pod: limited({ "hugepages-2Mi": "4Mi" }, { "hugepages-2Mi": "2Mi", memory: "1Mi" }),
    medium: "HugePages",
    is: { kind: "huge-pages", pageBytes: 2 * mebi },
  },
  {
    name: "a named size of several",
    pod: limited({ "hugepages-2Mi": "4Mi" }, { "hugepages-1Gi": "1Gi" }),
    medium: "HugePages-1Gi",
    is: { kind: "huge-pages", pageBytes: 1_024 * mebi },
  },
  {
    name: "no name for one of several",
    pod: limited({ "hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi" }),
    medium: "HugePages",
    is: "medium: HugePages can't be used if container requests multiple huge page sizes",
  },
  {
    name: "huge pages that nobody asks for",
    pod: limited({ memory: "1Gi" }),
    medium: "HugePages",
    is: "hugePages storage requested, but there is no resource request for huge pages",
  },
  {
    name: "a size that nobody asks for",
    pod: limited({ "hugepages-2Mi": "4Mi" }),
    medium: "HugePages-1Gi",
    is: "medium HugePages-1Gi: hugePages storage requested, but there is no resource request for huge pages",
  },
  { name: "an unknown medium", pod: testPod(), medium: "Tape", is: 'unknown storage medium "Tape"' },
];
for (const { name, pod, is, ...source } of cases)
  t.test(`VO4: emptyDir: ${name}`, async (t) => {
    const told = (): EmptyDirKind => emptyDirKind(pod, source, 512 * mebi);
    if (typeof is === "string") t.throws(told, { message: is });
    else t.same(told(), is);
  });
