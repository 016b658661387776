import t from "tap";
import type { Pod } from "./generated/kubernetes.ts";
import { heldRequests, podRequests } from "./pod-requests.ts";

const pod = (cpu: string, status: Pod["status"] = {}): Pod => ({
  spec: { containers: [{ name: "c", resources: { requests: { cpu, memory: "64Mi" } } }] },
  status,
});
const granted = {
  name: "c",
  ready: true,
  restartCount: 0,
  image: "",
  imageID: "",
  allocatedResources: { cpu: "1", memory: "32Mi" },
  resources: { requests: { cpu: "1500m", memory: "32Mi" } },
};

t.test(
  "LC21: while it is resized a pod holds the most of what it asks for, was granted and has",
  async (t) => {
    t.same(heldRequests(pod("2")), podRequests(pod("2")), "nothing runs yet");
    t.same(heldRequests(pod("2", { containerStatuses: [granted] })), { cpu: 2_000, memory: 64 * 2 ** 20 });
    t.same(heldRequests(pod("500m", { containerStatuses: [granted] })), { cpu: 1_500, memory: 64 * 2 ** 20 });
    const conditions = [{ type: "PodResizePending", status: "True", reason: "Infeasible" }];
    t.same(
      heldRequests(pod("900", { conditions, containerStatuses: [granted] })),
      { cpu: 1_500, memory: 32 * 2 ** 20 },
      "what was refused for good holds nothing",
    );
  },
);
