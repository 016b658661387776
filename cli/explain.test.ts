import { rm } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { standalone, until } from "../agent/agent-fixture.ts";
import { watchedRuntime } from "../agent/runtime/watched-runtime.ts";
import { agentPlace, keelson, type Said } from "./local/agent-fixture.ts";

const sleeper = "  terminationGracePeriodSeconds: 1\n  containers: [{name: web, image: busybox}]";

t.test("explain tells of a Pod that runs, by every name it has", async (t) => {
  const { folder, runtime, socket, more } = await agentPlace(t, { web: sleeper });
  const agent = await standalone(runtime, folder, 0, more);
  t.teardown(() => agent.stop());
  const ask = (...words: readonly string[]): Promise<Said> =>
    keelson("explain", ...words, "--control-socket", socket);
  await until("ready", async () => /Running, ready/.test((await ask("pod", "web")).out));
  for (const words of [
    ["pod", "default/web-node-a"],
    ["pod", "web-node-a", "-n", "default"],
    ["pod/web", "--namespace=default"],
    ["pod", agent.view.pods()[0]?.metadata?.uid ?? ""],
  ]) {
    const { code, out } = await ask(...words);
    t.equal(code, 0);
    t.match(out, /Pod +default\/web-node-a on node-a/);
    t.match(out, /Wants +that it runs/);
    t.match(out, /Waits for +nothing/);
    t.match(out, /web: running for \S+, 0 restarts, busybox/);
  }
  const json: unknown = JSON.parse((await ask("pod", "web", "-o", "json")).out);
  t.match(json, {
    name: "web-node-a",
    ready: true,
    waits: [],
    containers: [{ name: "web", state: "running" }],
  });
});

t.test("explain names the call that hangs, and the image that is not there", async (t) => {
  const image = "  containers: [{name: web, image: nowhere, imagePullPolicy: Never}]";
  const { folder, runtime, socket, more } = await agentPlace(t, { stuck: sleeper, image });
  const gate = Promise.withResolvers<void>();
  const hanging = watchedRuntime(runtime, async (call, [config], proceed) => {
    const isStuck =
      typeof config === "object" &&
      config !== null &&
      "podName" in config &&
      String(config.podName).startsWith("stuck");
    if (call === "runSandbox" && isStuck) await gate.promise;
    return await proceed();
  });
  const agent = await standalone(hanging, folder, 0, more);
  t.teardown(async () => {
    gate.resolve();
    await agent.stop();
  });
  const said = async (name: string): Promise<string> =>
    (await keelson("explain", "pod", name, "--control-socket", socket)).out;
  await until("the image", async () =>
    /the next try of the image \(container "web"\)/.test(await said("image")),
  );
  t.match(await said("image"), /ErrImageNeverPull: Container image "nowhere" is not present/);
  await until("the call", async () => /the runtime, for 1\.\d+s\n.*"sandbox"/.test(await said("stuck")));
  t.match(await said("stuck"), /Sandbox +absent/);
});

t.test("explain names the stop that hangs, and explain pods puts those that wait first", async (t) => {
  const { folder, runtime, socket, more } = await agentPlace(t, { web: sleeper, other: sleeper });
  const gate = Promise.withResolvers<void>();
  const hanging = watchedRuntime(runtime, async (call, _, proceed) => {
    if (call === "stopContainer") await gate.promise;
    return await proceed();
  });
  const agent = await standalone(hanging, folder, 0, more);
  t.teardown(async () => {
    gate.resolve();
    await agent.stop();
  });
  const list = async (): Promise<string> =>
    (await keelson("explain", "pods", "--control-socket", socket)).out;
  await until("both run", async () => (await list()).match(/Running, ready +-$/gm)?.length === 2);
  t.match(
    await list(),
    /^POD +STATE +WAITS FOR\ndefault\/other-node-a +Running, ready +-\ndefault\/web-node-a /,
  );
  await rm(path.join(folder, "manifests/web.yaml"));
  const ask = async (): Promise<string> =>
    (await keelson("explain", "pod", "web", "--control-socket", socket)).out;
  await until("it has its grace period", async () =>
    /the grace period \(container "web"\)/.test(await ask()),
  );
  await until("it is over", async () => /its call "stop container" hangs/.test(await ask()));
  t.match(await ask(), /Wants +that it ends, with 1s of grace: its source does not have it any more/);
  t.match(
    await list(),
    /WAITS FOR\ndefault\/web-node-a +Running.* the runtime for \d\.\ds: the grace period is over/,
  );
  const json: unknown = JSON.parse(
    (await keelson("explain", "pods", "-o", "json", "--control-socket", socket)).out,
  );
  t.match(json, [{ namespace: "default" }, { namespace: "default" }]);
});

t.test("explain --timeline tells the steps of a start, -o svg draws them", async (t) => {
  const { folder, runtime, socket, more } = await agentPlace(t, {
    web: `  terminationGracePeriodSeconds: 1
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - name: web
    image: busybox
    imagePullPolicy: IfNotPresent
    volumeMounts: [{name: data, mountPath: /data}]
    readinessProbe: {exec: {command: [sh, -c, "exit 0"]}, periodSeconds: 1}
    lifecycle: {postStart: {exec: {command: [sh, -c, "exit 0"]}}}`,
  });
  const agent = await standalone(runtime, folder, 0, more);
  t.teardown(() => agent.stop());
  const ask = (...words: readonly string[]): Promise<Said> =>
    keelson("explain", "pod", "web", ...words, "--control-socket", socket);
  await until("ready", async () => / Ready\n/.test((await ask("--timeline")).out), 10_000);
  const { out } = await ask("--timeline");
  t.match(out, /^Start of default\/web-node-a on node-a, seen \S+Z: ready \d.* after it was seen\n/);
  const steps = out
    .trim()
    .split("\n")
    .slice(2)
    .map((line) => line.split("|  ").at(-1));
  t.ok(steps.includes("image present (web)"), "looked for beside the sandbox");
  t.same(
    steps.filter((step) => step !== "image present (web)"),
    [
      "seen",
      "admitted",
      "volumes",
      "sandbox",
      "create (web)",
      "start (web)",
      "postStart hook (web)",
      "readiness probe (web)",
      "Ready",
    ],
  );
  const svg = (await ask("-o", "svg")).out;
  t.match(svg, /^<svg .*<\/svg>\n$/s);
  t.match(svg, /<title>create \(web\) at \+/);
  t.match(JSON.parse((await ask("-o", "json")).out), { timeline: [{ what: "seen" }, { what: "admitted" }] });

  const before = out;
  await runtime.endContainer(
    agent.view.podByName("default", "web-node-a")?.containers.get("web")?.id ?? "",
    1,
  );
  await until("restarted", async () => /1 restart,/.test((await ask()).out));
  t.equal((await ask("--timeline")).out, before, "a restart is not part of the start");
});

t.test("what cannot be explained is said, with what to do", async (t) => {
  const { folder, runtime, socket, more } = await agentPlace(t, { web: sleeper });
  const before = await keelson("explain", "pod", "web", "--control-socket", socket);
  t.equal(before.code, 1);
  t.match(before.err, /keelson explain: cannot ask the agent at ".*": no agent listens there; is it running/);
  const agent = await standalone(runtime, folder, 0, more);
  t.teardown(() => agent.stop());
  await until("there", () => agent.view.pods().length === 1);
  const wrong = await keelson("explain", "pod", "wob", "--control-socket", socket);
  t.equal(wrong.code, 1);
  t.match(wrong.err, /^keelson explain: no Pod "wob" is on node "node-a"; near: default\/web-node-a\n$/);
  for (const [words, message] of [
    [[], /say what to explain; want keelson explain pod NAMESPACE\/NAME/],
    [["node", "x"], /"node" cannot be explained/],
    [["pod"], /which Pod\?/],
    [["pod", "a/b/c"], /"a\/b\/c" is no Pod/],
    [["pod", "a", "b"], /"b" is one word too many/],
    [["pod", "a/b", "-n", "c"], /cannot both be meant/],
    [["pod", "a", "-o", "yaml"], /want one of "text", "json"/],
    [["pods", "-o", "svg"], /pods are listed as text or json/],
    [["pods", "-n", "default"], /all of the node's/],
    [["pod", "a", "--wrong"], /unknown flag --wrong/],
  ] as const) {
    const { code, err } = await keelson("explain", ...words, "--control-socket", socket);
    t.equal(code, 2, words.join(" "));
    t.match(err, message);
  }
});
