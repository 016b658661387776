import t from "tap";
import { containerHugePages, hugePageCapacity, podHugePages } from "./huge-pages.ts";
import { testContainer, testPod } from "./pod-fixtures.ts";

const machine = [
  { pageBytes: 2 * 1_024 ** 2, pages: 64 },
  { pageBytes: 1_024 ** 3, pages: 0 },
];

t.test("RS8: huge pages are limited by size; those that are not asked for are forbidden", async (t) => {
  const resources = { limits: { "hugepages-2Mi": "4Mi", memory: "1Gi" } };
  t.same(containerHugePages(resources, machine), { "2MB": 4 * 1_024 ** 2, "1GB": 0 });
  t.same(containerHugePages(undefined, machine), { "2MB": 0, "1GB": 0 });
  t.same(containerHugePages(resources, []), {}, "a kernel without them");
  const pod = testPod({
    containers: [testContainer("a", { resources }), testContainer("b", { resources })],
    overhead: { "hugepages-1Gi": "1Gi" },
  });
  t.same(podHugePages(pod, machine), { "2MB": 8 * 1_024 ** 2, "1GB": 1_024 ** 3 });
});

t.test("RS8: the node offers the pages that the machine has set aside", async (t) => {
  t.same(hugePageCapacity(machine), { "hugepages-2Mi": "128Mi", "hugepages-1Gi": "0" });
});
