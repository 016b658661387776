import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { FakeIptables } from "#linux/fake-iptables.ts";
import { servicePortKey } from "../../model.ts";
import { isStale, planValidAnswers } from "../../plan/stale-flows.ts";
import { testEndpoint, testPort } from "../../plan/test-ports.ts";
import { userspaceMode } from "./userspace-mode.ts";

const node = { name: "n1", zone: "", ips: [], podCidrs: [] };
const settings = { family: 4, serviceCidrs: [], maxConnections: 10 } as const;

t.test("a UDP flow to the listener outlives a change of endpoints, and not its Service", async (t) => {
  const iptables = new FakeIptables();
  const mode = userspaceMode(settings, { iptables, clock: new FakeClock(), log: noLog, random: () => 0 });
  t.teardown(() => mode.close());
  const { signal } = new AbortController();
  const before = testPort("ns/dns", { protocol: "udp", port: 53, endpoints: [testEndpoint("10.1.0.1", 53)] });
  const after = { ...before, endpoints: [testEndpoint("10.1.0.2", 53)] };
  const key = servicePortKey(before);
  const stale = (portNow: typeof before | undefined, answersPort: number): boolean =>
    isStale(
      { to: before.clusterIp, toPort: 53, answers: "127.0.0.1", answersPort },
      planValidAnswers([{ before, after: portNow }], (port) => mode.answers(port, node), []),
    );
  await mode.sync(new Map([[key, before]]), node, signal);
  const proxyPort = Number(/-j REDIRECT --to-ports (\d+)/.exec(iptables.scripts.join())?.[1]);
  t.ok(proxyPort > 0, "the rule names the listener's port");
  await mode.sync(new Map([[key, after]]), node, signal);
  t.notOk(stale(after, proxyPort), "the listener goes on answering for the client");
  t.ok(stale(after, proxyPort + 1), "what went around the listener is stale");
  await mode.sync(new Map([[key, undefined]]), node, signal);
  t.ok(stale(undefined, proxyPort), "nobody answers for a Service that is gone");
});
