import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { Transport } from "#api/transport.ts";
import { systemClock } from "#lib/clock.ts";
import { standalone, until } from "../agent-fixture.ts";
import { testPod } from "../plan/pod-fixtures.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { runtimeHandler } from "./runtime-handler.ts";

const signal = AbortSignal.timeout(10_000);

/** An API that has one class, "sealed", and refuses the class "secret". */
const transport: Transport = {
  async send({ path: place }) {
    const name = place.split("/").at(-1) ?? "";
    const status = name === "sealed" ? 200 : name === "secret" ? 403 : 404;
    const refusal = { kind: "Status", code: status, message: "no" };
    const reason = status === 404 ? "NotFound" : "Forbidden";
    const body = status === 200 ? { metadata: { name }, handler: "kata" } : { ...refusal, reason };
    return {
      status,
      headers: { "content-type": "application/json" },
      body: (async function* () {
        yield Buffer.from(JSON.stringify(body));
      })(),
    };
  },
  reset() {},
  async close() {},
};

t.test("SC8: the handler is the RuntimeClass's, and a class that cannot be had is no other", async (t) => {
  const client = new ApiClient(transport);
  const of = (runtimeClassName: string) => testPod({ runtimeClassName });
  t.equal(await runtimeHandler(client, testPod(), signal), "");
  t.equal(await runtimeHandler(client, of("sealed"), signal), "kata");
  await t.rejects(runtimeHandler(client, of("none"), signal), {
    message: 'runtimeclass.node.k8s.io "none" not found',
  });
  await t.rejects(runtimeHandler(client, of("secret"), signal), {
    message: /^failed to lookup RuntimeClass secret: /,
  });
  t.equal(await runtimeHandler(undefined, testPod(), signal), "");
  await t.rejects(runtimeHandler(undefined, of("sealed"), signal), {
    message: 'RuntimeClass "sealed" cannot be read without an API server',
  });
});

t.test("SC8: without an API a static Pod with a RuntimeClass is refused, never run by another", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web" },
    spec: { runtimeClassName: "sealed", containers: [{ name: "web", image: "busybox" }] },
  };
  await writeFile(path.join(folder, "manifests/web.yaml"), JSON.stringify(manifest));
  const agent = await standalone(runtime, folder);
  const said =
    'FailedCreatePodSandBox Failed to create pod sandbox: RuntimeClass "sealed" cannot be read without an API server';
  await until("it is refused", () => agent.events.includes(said));
  t.equal(agent.view.podByName("default", "web-node-a")?.pod.status?.phase, "Pending");
  t.same(await runtime.listSandboxes({}, signal), []);
  await agent.stop();
});
