/** `keelson up` on a machine where it cannot succeed: it says why, soon, and leaves nothing running. */
import { existsSync } from "node:fs";
import path from "node:path";
import t from "tap";
import { bundle } from "../support/cluster.ts";
import { TestMachine } from "../support/machine.ts";
import { root } from "../support/paths.ts";

const missing =
  process.getuid?.() !== 0
    ? "needs root"
    : !existsSync("/usr/bin/containerd")
      ? "needs containerd"
      : !existsSync("/bin/busybox") && "needs busybox";
const keelson = path.join(root, "dist/keelson");

/** Somebody else's program on a port that a cluster needs. */
async function occupy(machine: TestMachine, port: number): Promise<void> {
  await machine.sh(`busybox nc -ll -p ${port} -e true </dev/null >/dev/null 2>&1 & echo $!`);
}

/** Every process of the machine that is ours or was started by us. */
async function leftovers(machine: TestMachine): Promise<string> {
  return await machine.sh("ps -eo args= | grep -E 'keelson|containerd' | grep -v grep || true");
}

t.setTimeout(180_000);
t.test("a port in use is named at once, and nothing is left running", { skip: missing }, async (t) => {
  await bundle();
  await using machine = await TestMachine.start("up-port", "10.99.0.20/24");
  await occupy(machine, 10_250);
  const startedMs = performance.now();
  const ended = await machine.exec([keelson, "up"], { mayFail: true });
  t.equal(ended.code, 1);
  t.match(ended.stderr, /port 10250 \(the agent's port\) is in use; see "ss -ltnp sport = :10250"/);
  t.match(ended.stderr, /nothing was left running/);
  t.ok(performance.now() - startedMs < 10_000, "it does not wait for what cannot be");
  t.equal(await leftovers(machine), "");
});

t.test(
  "a service that ends again and again is named with its last lines, long before the timeout",
  { skip: missing },
  async (t) => {
    await bundle();
    await using machine = await TestMachine.start("up-ends", "10.99.0.21/24");
    await occupy(machine, 10_248); // the agent's health, which up does not look at
    const startedMs = performance.now();
    const ended = await machine.exec([keelson, "up", "--timeout=2m"], { mayFail: true, timeoutMs: 120_000 });
    t.equal(ended.code, 1);
    t.match(ended.stderr, /the service "node" ended 3 times/);
    t.match(ended.stderr, /--- the last lines of node[\s\S]*10248/);
    t.notMatch(ended.stderr, /the last lines of control/);
    t.ok(performance.now() - startedMs < 60_000, `${Math.round(performance.now() - startedMs)} ms`);
    t.equal(await leftovers(machine), "");
  },
);
