import { once } from "node:events";
import t from "tap";
import WebSocket from "ws";
import { systemClock } from "#lib/clock.ts";
import { connectSpdy } from "#lib/spdy/upgrade.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { defaultStreamLimits } from "./stream-limits.ts";
import { type StreamNode, streamNode, textOf } from "./stream-node.ts";
import { connectTunnel } from "./tunnel-client.ts";

const exec = "/exec/default/web/main?command=cat&input=1&output=1";
const day = 24 * 3_600_000;

t.test("agent §2.3: connections may be idle for four hours, and streams take half a minute", async (t) => {
  t.same(defaultStreamLimits, { idleMs: 14_400_000, openMs: 30_000 });
});

t.test("agent §2.3: a connection that is idle for too long is cut, and its process ended", async (t) => {
  const runtime = new CountingRuntime(systemClock);
  await using node = await streamNode({ idleMs: 300, openMs: day }, runtime);
  const { session } = await connectSpdy(`http://${node.host}${exec}`, ["v4.channel.k8s.io"], node.signal);
  const error = await session.open({ streamType: "error" });
  const stdin = await session.open({ streamType: "stdin" });
  const stdout = await session.open({ streamType: "stdout" });
  const started = performance.now();
  // Not idle: what is typed comes back, for longer than the limit.
  for (let count = 0; count < 10; count += 1) {
    stdin.write("x");
    await once(stdout, "data");
    await systemClock.sleep(50, node.signal);
  }
  t.ok(performance.now() - started > 300);
  error.resume();
  stdout.resume();
  await session.closed;
  await untilNone(node);
  t.same(runtime.closed, 1, "SPDY");

  const socket = new WebSocket(`ws://${node.host}${exec}`, "v5.channel.k8s.io");
  await once(socket, "open");
  const [code] = await once(socket, "close");
  t.equal(code, 1006, "a WebSocket is cut, too");
  await untilNone(node);
  t.same(runtime.closed, 2);

  const forwarded = await connectSpdy(`http://${node.host}/portForward/default/web`, [], node.signal);
  await forwarded.session.closed;
  const tunnel = await connectTunnel(`http://${node.host}/portForward/default/web`);
  if (!tunnel.closed) await once(tunnel, "close");
  await untilNone(node);
  t.pass("forwarded ports and tunnels, too");
});

t.test("agent §2.3: who does not open the streams that belong together is not waited for", async (t) => {
  const runtime = new CountingRuntime(systemClock);
  await using node = await streamNode({ idleMs: day, openMs: 200 }, runtime);
  const { session } = await connectSpdy(`http://${node.host}${exec}`, ["v4.channel.k8s.io"], node.signal);
  await session.open({ streamType: "error" });
  await session.closed;
  await untilNone(node);
  t.equal(runtime.started, 0, "nothing was run");

  const path = `http://${node.host}/portForward/default/web`;
  const forward = await connectSpdy(path, ["portforward.k8s.io"], node.signal);
  const error = await forward.session.open({ streamType: "error", port: "8080", requestID: "7" });
  t.match(await textOf(error), /request 7: timed out waiting for streams/);
  const data = await forward.session.open({ streamType: "data", port: "8080", requestID: "8" });
  t.equal(await textOf(data), "", "a data stream without its error stream is reset");
  forward.session.close();
  await forward.session.closed;
});

/** Counts what was run, and what was cut off. */
class CountingRuntime extends FakeRuntime {
  started = 0;
  closed = 0;

  override async exec(...args: Parameters<FakeRuntime["exec"]>): ReturnType<FakeRuntime["exec"]> {
    const streams = await super.exec(...args);
    this.started += 1;
    let open = true;
    return {
      ...streams,
      close: () => {
        if (!open) return;
        open = false;
        this.closed += 1;
        streams.close();
      },
    };
  }
}

async function untilNone(node: StreamNode): Promise<void> {
  const signal = AbortSignal.timeout(30_000);
  while (node.served() > 0) await systemClock.sleep(5, signal);
}
