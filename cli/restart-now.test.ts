import t, { type Test } from "tap";
import { standalone, type StandaloneAgent, until } from "../agent/agent-fixture.ts";
import { agentPlace, keelson } from "./local/agent-fixture.ts";

const sleeper = "  terminationGracePeriodSeconds: 1\n  containers: [{name: web, image: busybox}]";
const podName = "web-node-a";

function status({ view }: StandaloneAgent) {
  return view.podByName("default", podName)?.pod.status?.containerStatuses?.[0];
}

async function started(t: Test, spec: string) {
  const place = await agentPlace(t, { web: spec });
  const agent = await standalone(place.runtime, place.folder, 0, place.more);
  t.teardown(() => agent.stop());
  return { ...place, agent };
}

t.test("restart-now ends a crash back-off, and the next one is longer all the same", async (t) => {
  const { agent, runtime, socket } = await started(t, sleeper);
  const crash = async (restarts: number): Promise<void> => {
    await until(
      `run ${restarts}`,
      () => status(agent)?.restartCount === restarts && status(agent)?.state?.running !== undefined,
    );
    await runtime.endContainer(agent.view.podByName("default", podName)?.containers.get("web")?.id ?? "", 1);
  };
  await crash(0); // the first restart does not wait
  await crash(1);
  await until("it backs off", () => status(agent)?.state?.waiting?.reason === "CrashLoopBackOff");
  const { code, out } = await keelson("restart-now", "web", "-c", "web", "--control-socket", socket);
  t.equal(code, 0);
  t.match(
    out,
    /^Back-off restarting container web was cut short by \S+s, as the node's administrator asked\n$/,
  );
  // Far sooner than the ten seconds that it would have waited.
  await until("it was restarted", () => status(agent)?.restartCount === 2, 5_000);
  t.ok(agent.events.some((event) => event.startsWith("RestartNow Back-off restarting container web")));
  await crash(2);
  await until("it backs off again", () => /back-off 20s/.test(status(agent)?.state?.waiting?.message ?? ""));
});

t.test("restart-now pulls at once what waits for its next pull", async (t) => {
  const { agent, runtime, socket } = await started(
    t,
    "  terminationGracePeriodSeconds: 1\n  containers: [{name: web, image: late, imagePullPolicy: IfNotPresent}]",
  );
  await until("it backs off", () => status(agent)?.state?.waiting?.reason === "ImagePullBackOff");
  runtime.addImage("late", { entrypoint: ["sleep", "1000"] });
  const { code, out } = await keelson("restart-now", "pod/web", "--control-socket", socket, "-o", "json");
  t.equal(code, 0);
  t.match(JSON.parse(out), [{ of: "image", container: "web", until: /^20\d\d-.*Z$/ }]);
  await until("it runs", () => status(agent)?.state?.running !== undefined, 5_000);
});

t.test("restart-now refuses where nothing waits, and touches nothing", async (t) => {
  const { agent, runtime, socket } = await started(t, sleeper);
  await until("it runs", () => status(agent)?.state?.running !== undefined);
  const before = runtime.history.length;
  for (const [words, message] of [
    [["web"], /nothing to cut short in Pod "default\/web-node-a": no back-off runs in any of its containers/],
    [["web", "-c", "other"], /it has no container "other", only "web"/],
    [["wob"], /no Pod "wob" is on node "node-a"; near: default\/web-node-a/],
  ] as const) {
    const { code, err } = await keelson("restart-now", ...words, "--control-socket", socket);
    t.equal(code, 1);
    t.match(err, message);
  }
  t.equal((await keelson("restart-now", "--control-socket", socket)).code, 2);
  t.same(runtime.history.slice(before), []);
});
