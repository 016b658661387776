import t from "tap";
import type { ContainerStatus, PodStatus } from "#api/generated/kubernetes.ts";
import { isPassingStatus } from "./passing-status.ts";

const container = (state: ContainerStatus["state"], restartCount = 0): ContainerStatus => ({
  name: "c",
  image: "i",
  imageID: "",
  ready: false,
  restartCount,
  ...(state === undefined ? {} : { state }),
});
const waits = (reason: string): ContainerStatus => container({ waiting: { reason } });

const cases: readonly { name: string; status: PodStatus; passes: boolean }[] = [
  {
    name: "a container is being made",
    status: { phase: "Pending", containerStatuses: [waits("ContainerCreating")] },
    passes: true,
  },
  {
    name: "the first init container is being made",
    status: {
      phase: "Pending",
      initContainerStatuses: [waits("PodInitializing")],
      containerStatuses: [waits("PodInitializing")],
    },
    passes: true,
  },
  {
    name: "an init container runs",
    status: {
      phase: "Pending",
      initContainerStatuses: [container({ running: {} })],
      containerStatuses: [waits("PodInitializing")],
    },
    passes: false,
  },
  {
    name: "an image cannot be had",
    status: { phase: "Pending", containerStatuses: [waits("ErrImagePull")] },
    passes: false,
  },
  {
    name: "a container starts again",
    status: {
      phase: "Pending",
      containerStatuses: [container({ waiting: { reason: "ContainerCreating" } }, 1)],
    },
    passes: false,
  },
  {
    name: "a Pod runs",
    status: { phase: "Running", containerStatuses: [waits("ContainerCreating")] },
    passes: false,
  },
  {
    name: "a Pod was refused",
    status: { phase: "Pending", reason: "OutOfcpu", containerStatuses: [waits("ContainerCreating")] },
    passes: false,
  },
  { name: "nothing is known of it yet", status: { phase: "Pending" }, passes: false },
];
for (const { name, status, passes } of cases) {
  t.test(`${name}: its status ${passes ? "waits for a better one" : "is told at once"}`, async (t) => {
    t.equal(isPassingStatus(status), passes);
  });
}
