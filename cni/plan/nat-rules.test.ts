import t from "tap";
import { renderMasquerade, renderPortMap, renderPortUnmap } from "./nat-rules.ts";

const plan = {
  network: "pods",
  containerId: "c1",
  podIp: "10.1.0.2",
  podSubnet: "10.1.0.0/24",
  mappings: [{ protocol: "tcp" as const, hostPort: 8080, containerPort: 80, hostIp: "" }],
};
const chainOf = (script: string): string => /CNI-DN-[0-9a-f]{21}/.exec(script)?.[0] ?? "";

t.test("shared chains are named only while they are missing: naming one empties it", async (t) => {
  const first = renderPortMap(plan, new Map());
  t.match(first, /^:CNI-HOSTPORT-DNAT - \[0:0\]$/m);
  t.match(first, /^-I POSTROUTING .*-j CNI-HOSTPORT-MASQ$/m);
  const shared = ["CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"];
  const now = new Map<string, { readonly rules: readonly string[] }>([
    ...shared.map((name) => [name, { rules: [] }] as const),
    ["PREROUTING", { rules: ["-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"] }],
    ["OUTPUT", { rules: ["-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"] }],
    ["POSTROUTING", { rules: ["-j CNI-HOSTPORT-MASQ"] }],
  ]);
  const second = renderPortMap(plan, now);
  for (const name of shared) t.notMatch(second, new RegExp(`^:${name} `, "m"));
  t.notMatch(second, /^-[AI] (PREROUTING|OUTPUT|POSTROUTING)/m);
});

t.test("more than fifteen ports of one protocol need a second entry", async (t) => {
  const mappings = Array.from({ length: 16 }, (_, i) => ({
    protocol: "tcp" as const,
    hostPort: 9000 + i,
    containerPort: 80,
    hostIp: "",
  }));
  t.equal(renderPortMap({ ...plan, mappings }, new Map()).match(/--dports/g)?.length, 2);
});

t.test("unmapping removes exactly what mapping added", async (t) => {
  t.equal(renderPortUnmap("pods", "c1", new Map()), undefined);
  const chain = chainOf(renderPortMap(plan, new Map()));
  const now = new Map([
    [chain, { rules: ["x"] }],
    ["CNI-HOSTPORT-DNAT", { rules: [`-p tcp -j ${chain}`, "-p tcp -j CNI-DN-another"] }],
  ]);
  t.equal(
    renderPortUnmap("pods", "c1", now),
    `*nat\n:${chain} - [0:0]\n-D CNI-HOSTPORT-DNAT -p tcp -j ${chain}\n-X ${chain}\nCOMMIT\n`,
  );
});

t.test("masquerade spares the cluster and is written once", async (t) => {
  const script = renderMasquerade("pods", "10.1.0.0/24", ["10.1.0.0/16", "fd00::/48"], new Map()) ?? "";
  t.match(
    script,
    /-d 10\.1\.0\.0\/16 -j RETURN\n-A \S+ -d 224\.0\.0\.0\/4 -j RETURN\n-A \S+ -j MASQUERADE --random-fully/,
  );
  t.notMatch(script, /fd00/);
  const rules = script
    .split("\n")
    .filter((line) => line.startsWith("-A CNI-"))
    .map((line) => line.replace(/^-A \S+ /, ""));
  const entry =
    script
      .split("\n")
      .find((line) => line.startsWith("-A POSTROUTING "))
      ?.replace("-A POSTROUTING ", "") ?? "";
  const chain = /:(\S+) /.exec(script)?.[1] ?? "";
  const now = new Map([
    ["POSTROUTING", { rules: [entry] }],
    [chain, { rules }],
  ]);
  t.equal(renderMasquerade("pods", "10.1.0.0/24", ["10.1.0.0/16", "fd00::/48"], now), undefined);
});
