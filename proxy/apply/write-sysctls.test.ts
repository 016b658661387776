import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { type Log, noLog } from "#lib/log.ts";
import { planSysctls } from "../plan/sysctls.ts";
import { writeSysctls } from "./write-sysctls.ts";

const settings = {
  conntrackMaxPerCore: 32_768,
  conntrackMin: 131_072,
  conntrackTcpEstablishedMs: 86_400_000,
  conntrackTcpCloseWaitMs: 0,
  conntrackTcpBeLiberal: false,
  conntrackUdpTimeoutMs: 0,
  conntrackUdpStreamTimeoutMs: 0,
  routeLocalnet: true,
};

t.test("the connection limit follows the cores, and has a floor", async (t) => {
  const max = (cores: number) =>
    planSysctls(settings, cores).find(({ path }) => path.endsWith("conntrack_max"))?.value;
  t.equal(max(2), 131_072);
  t.equal(max(8), 262_144);
});
t.test(
  "a higher limit is never lowered; what cannot be set is said and does not stop the rest",
  async (t) => {
    const root = t.testdir({ net: { netfilter: { nf_conntrack_max: "999999\n" } } });
    await mkdir(path.join(root, "net/ipv4/conf/all"), { recursive: true });
    await writeFile(path.join(root, "net/ipv4/conf/all/route_localnet"), "0\n");
    const warned: unknown[] = [];
    const log: Log = { ...noLog, warn: (_, data) => void warned.push(data?.["name"]) };
    await writeSysctls(planSysctls(settings, 2), log, root);
    t.equal(await readFile(path.join(root, "net/netfilter/nf_conntrack_max"), "utf8"), "999999\n");
    t.equal(await readFile(path.join(root, "net/ipv4/conf/all/route_localnet"), "utf8"), "1");
    t.same(warned, ["net.netfilter.nf_conntrack_tcp_timeout_established"]);
  },
);
