/**
 * What one change of one Service costs with many Services loaded: replacing an endpoint, and adding and removing
 * a Service, through the proxy's own writer and the machine's iptables, in a network namespace of its own.
 *
 *   sudo node bench/proxy-rules.ts [services, default 1000]
 *
 * Prints the first load and the median, lowest and highest of 20 changes, in milliseconds.
 */
import { execFileSync } from "node:child_process";
import { systemIptables } from "#linux/iptables.ts";
import { RuleWriter } from "../proxy/apply/iptables/rule-writer.ts";
import type { ServicePort } from "../proxy/model.ts";
import { planIptablesBase } from "../proxy/plan/iptables-base.ts";
import { planIptablesRules } from "../proxy/plan/iptables-rules.ts";
import { testEndpoint, testPort } from "../proxy/plan/test-ports.ts";

const count = Number(process.argv[2] ?? "1000");
if (process.argv[3] === "inside") await measure();
else {
  const name = `kpx-bench-${process.pid}`;
  execFileSync("ip", ["netns", "add", name]);
  try {
    const args = [
      `--net=/run/netns/${name}`,
      process.execPath,
      import.meta.filename,
      String(count),
      "inside",
    ];
    execFileSync("nsenter", args, { stdio: "inherit" });
  } finally {
    execFileSync("ip", ["netns", "del", name]);
  }
}

async function measure(): Promise<void> {
  const signal = AbortSignal.timeout(600_000);
  const base = planIptablesBase({
    family: 4,
    masqueradeBit: 14,
    randomFully: true,
    tcpBeLiberal: false,
    localhostNodePorts: true,
    nodePortIps: [],
    serviceCidrs: ["10.96.0.0/16"],
  });
  const node = { name: "n1", zone: "", ips: [], podCidrs: [] };
  const plan = (port: ServicePort) =>
    planIptablesRules(port, node, {
      masqueradeAll: false,
      localDetector: { by: "cidr", cidr: "10.244.0.0/16" },
    });
  const port = (index: number, last = 3): ServicePort =>
    testPort(`ns/service-${index}:http`, {
      clusterIp: `10.96.${index >> 8}.${index & 255}`,
      endpoints: [1, 2, last].map((n) => testEndpoint(`10.244.${index & 255}.${n + (index >> 8)}`, 8_080)),
    });
  const writer = new RuleWriter(systemIptables({ family: 4 }), base);
  const timed = async (changes: ReadonlyMap<string, ServicePort | undefined>): Promise<number> => {
    const start = performance.now();
    await writer.write(new Map([...changes].map(([key, value]) => [key, value && plan(value)])), signal);
    return performance.now() - start;
  };
  const all = new Map(Array.from({ length: count }, (_, index) => [String(index), port(index)]));
  console.log(`${count} Services with 3 endpoints: first load ${Math.round(await timed(all))} ms`);
  const samples: Record<string, number[]> = {
    "replace an endpoint": [],
    "add a Service": [],
    "remove a Service": [],
  };
  for (let round = 0; round < 20; round += 1) {
    samples["replace an endpoint"]?.push(await timed(new Map([["7", port(7, 4 + (round % 2))]])));
    samples["add a Service"]?.push(await timed(new Map([["new", port(count)]])));
    samples["remove a Service"]?.push(await timed(new Map([["new", undefined]])));
  }
  for (const [name, values] of Object.entries(samples)) {
    const sorted = values.sort((a, b) => a - b).map((value) => value.toFixed(1));
    console.log(`${name}: median ${sorted[10]}, lowest ${sorted[0]}, highest ${sorted.at(-1)} ms`);
  }
}
