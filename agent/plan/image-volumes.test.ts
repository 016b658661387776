import t from "tap";
import { containersOf, fieldPathOf } from "./containers-of.ts";
import { imageVolumes, isImageOf } from "./image-volumes.ts";
import { planPod } from "./pod-actions.ts";
import { testContainer, testMemory, testPod, testRuntime, testSandbox } from "./pod-fixtures.ts";

const pod = testPod({
  volumes: [
    { name: "model", image: { reference: "models.example/m:1", pullPolicy: "Never" } },
    { name: "unused", image: { reference: "models.example/u:1" } },
    { name: "data", emptyDir: {} },
  ],
  containers: [
    testContainer("web", {
      volumeMounts: [
        { name: "model", mountPath: "/m" },
        { name: "data", mountPath: "/d" },
      ],
    }),
  ],
});

t.test(
  "VO16: the images that a container mounts are pulled before it starts, by their own policy",
  async (t) => {
    const [web] = containersOf(pod);
    if (web === undefined) throw new Error("the Pod has a container");
    const [model, ...others] = imageVolumes(pod, web);
    t.same(others, []);
    t.match(model?.container, { name: "web/model", image: "models.example/m:1", imagePullPolicy: "Never" });
    t.equal(model && fieldPathOf(model), "spec.containers{web}");
    t.ok(isImageOf("web", "web") && isImageOf("web", "web/model"));
    t.notOk(isImageOf("web", "web-2") || isImageOf("web", "web-2/model"));
    const runtime = testRuntime([testSandbox()]);
    const memory = testMemory();
    t.match(planPod(pod, runtime, memory, 9_000).actions, [{ do: "pull-image", spec: model }]);
    const images = new Map([
      ...memory.images,
      ["web/model", { state: "present", ref: "m", user: {} } as const],
    ]);
    t.match(planPod(pod, runtime, testMemory({ images }), 9_000).actions, [{ do: "start-container" }]);
  },
);
