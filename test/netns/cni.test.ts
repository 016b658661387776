/** Our plugin and our runner, on real network namespaces. A "host" is a namespace too: nothing leaves it. */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { cniRunner } from "../../cni/runner.ts";
import type { NetworkAttachment } from "../../cni/model.ts";
import { setLink } from "#linux/netlink/links.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { createNetns, deleteNetns, inNetns } from "#linux/netns.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: sudo make test";
const entry = path.join(import.meta.dirname, "../../cni/plugin-entry.ts");
const signal = AbortSignal.timeout(60_000);
const noBridgeFilter =
  !fs.existsSync("/proc/sys/net/bridge/bridge-nf-call-iptables") && "needs the kernel module br_netfilter";
let made = 0;

interface Place extends Disposable {
  readonly host: string;
  readonly directory: string;
  pod(): string;
}

/** A host's namespace, a directory for state, and as many Pods' namespaces as are asked for. */
function place(): Place {
  const names: string[] = [];
  const make = (): string => {
    made += 1;
    const name = `kl-cni-${process.pid}-${made}`;
    names.push(name);
    return createNetns(name);
  };
  const host = make();
  inNetns(host, () => {
    using socket = new NetlinkSocket();
    setLink(socket, 1, { up: true });
  });
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "keelson-cni-"));
  return {
    host,
    directory,
    pod: make,
    [Symbol.dispose]: () => {
      for (const name of names) deleteNetns(name);
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
}

function run(netns: string, ...command: string[]): string {
  const done = spawnSync("nsenter", [`--net=${netns}`, ...command], { encoding: "utf8" });
  return done.stdout + done.stderr;
}

function conf(where: Place, more: object = {}): object {
  return {
    cniVersion: "1.0.0",
    name: "pods",
    type: "keelson",
    mtu: 1400,
    ipam: { subnet: "10.244.1.0/29", dataDir: where.directory },
    ...more,
  };
}

function call(
  where: Place,
  command: string,
  container: { readonly id: string; readonly netns: string },
  input: object,
): { readonly code: number; readonly answer: Record<string, unknown> } {
  const done = spawnSync("nsenter", [`--net=${where.host}`, process.execPath, entry], {
    encoding: "utf8",
    input: JSON.stringify(input),
    env: {
      ...process.env,
      CNI_COMMAND: command,
      CNI_CONTAINERID: container.id,
      CNI_NETNS: container.netns,
      CNI_IFNAME: "eth0",
    },
  });
  if (done.stderr !== "") throw new Error(`the plugin wrote to stderr: ${done.stderr}`);
  return {
    code: done.status ?? -1,
    answer: done.stdout === "" ? {} : (JSON.parse(done.stdout) as Record<string, unknown>),
  };
}

t.test(
  "two Pods reach each other, the gateway and themselves, and DEL leaves nothing",
  { skip },
  async (t) => {
    using where = place();
    const a = { id: "a1", netns: where.pod() };
    const b = { id: "b1", netns: where.pod() };
    const added = call(where, "ADD", a, conf(where));
    t.match(added, {
      code: 0,
      answer: {
        cniVersion: "1.0.0",
        interfaces: [
          { name: "cni0" },
          { name: /^veth/ },
          { name: "eth0", mac: "0a:58:0a:f4:01:02", sandbox: a.netns },
        ],
        ips: [{ address: "10.244.1.2/29", gateway: "10.244.1.1", interface: 2 }],
        routes: [{ dst: "0.0.0.0/0", gw: "10.244.1.1" }],
      },
    });
    t.match(call(where, "ADD", b, conf(where)), { code: 0, answer: { ips: [{ address: "10.244.1.3/29" }] } });
    for (const target of ["10.244.1.3", "10.244.1.1", "10.244.1.2"]) {
      t.match(run(a.netns, "busybox", "ping", "-c1", "-W2", target), / 0% packet loss/, `ping ${target}`);
    }
    t.match(run(a.netns, "ip", "link", "show", "eth0"), /mtu 1400/);
    t.match(call(where, "ADD", a, conf(where)), { code: 1, answer: { msg: /already/ } });
    t.match(
      run(a.netns, "busybox", "ping", "-c1", "-W2", "10.244.1.3"),
      / 0% packet loss/,
      "a second ADD harms nothing",
    );
    const prevResult = added.answer;
    t.match(call(where, "CHECK", a, conf(where, { prevResult })), { code: 0 });
    run(a.netns, "ip", "route", "del", "default");
    t.match(call(where, "CHECK", a, conf(where, { prevResult })), {
      code: 1,
      answer: { code: 101, msg: /route/ },
    });
    for (const container of [a, b, a]) t.match(call(where, "DEL", container, conf(where)), { code: 0 });
    t.notMatch(run(where.host, "ip", "link"), /veth/);
    t.same(
      fs.readdirSync(path.join(where.directory, "pods")).filter((name) => name.startsWith("10.")),
      [],
    );
  },
);

t.test(
  "Pods talk when FORWARD drops what nobody accepts, as Docker sets it",
  { skip: skip || noBridgeFilter },
  async (t) => {
    using where = place();
    run(where.host, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1");
    run(where.host, "iptables", "-P", "FORWARD", "DROP");
    const [a, b, c] = [
      { id: "f1", netns: where.pod() },
      { id: "f2", netns: where.pod() },
      { id: "f3", netns: where.pod() },
    ] as const;
    const ping = (): string => run(a.netns, "busybox", "ping", "-c1", "-W1", "10.244.1.3");
    for (const pod of [a, b]) t.equal(call(where, "ADD", pod, conf(where, { forward: false })).code, 0);
    t.match(ping(), /100% packet loss/, "nobody lets them through");
    for (const pod of [a, b]) t.equal(call(where, "DEL", pod, conf(where)).code, 0);
    fs.rmSync(path.join(where.directory, "pods"), { recursive: true });
    for (const pod of [a, b]) t.equal(call(where, "ADD", pod, conf(where)).code, 0);
    t.match(ping(), / 0% packet loss/);
    const rules = run(where.host, "iptables", "-S");
    t.equal(rules.match(/-j CNI-FORWARD/g)?.length, 1, "written once");
    run(where.host, "iptables", "-F", "FORWARD");
    t.match(ping(), /100% packet loss/);
    t.equal(call(where, "ADD", c, conf(where)).code, 0);
    t.match(ping(), / 0% packet loss/, "the next Pod brings it back");
    t.equal(run(where.host, "iptables", "-S"), rules);
  },
);

t.test(
  "addresses go round, run out with an error, and DEL works without the namespace",
  { skip },
  async (t) => {
    using where = place();
    const pods = [1, 2, 3, 4, 5].map((n) => ({ id: `c${n}`, netns: where.pod() }));
    for (const pod of pods) t.equal(call(where, "ADD", pod, conf(where)).code, 0);
    const late = { id: "late", netns: where.pod() };
    t.match(call(where, "ADD", late, conf(where)), {
      code: 1,
      answer: { code: 102, msg: /all of 10\.244\.1\.0\/29 are taken/ },
    });
    t.equal(call(where, "DEL", { id: "c1", netns: "" }, conf(where)).code, 0);
    t.equal(call(where, "DEL", { id: "c3", netns: "/run/netns/not-there" }, conf(where)).code, 0);
    t.match(call(where, "ADD", late, conf(where)), { answer: { ips: [{ address: "10.244.1.2/29" }] } });
  },
);

t.test("GC removes what no list names, and a reboot forgets every lease", { skip }, async (t) => {
  using where = place();
  const pods = [1, 2].map((n) => ({ id: `g${n}`, netns: where.pod() }));
  for (const pod of pods) t.equal(call(where, "ADD", pod, conf(where)).code, 0);
  const valid = { "cni.dev/valid-attachments": [{ containerID: "g2", ifname: "eth0" }], cniVersion: "1.1.0" };
  t.equal(call(where, "GC", { id: "x", netns: "" }, conf(where, valid)).code, 0);
  t.equal([...run(where.host, "ip", "-o", "link").matchAll(/veth/g)].length, 1);
  const leases = () =>
    fs.readdirSync(path.join(where.directory, "pods")).filter((name) => name.startsWith("10."));
  t.same(leases(), ["10.244.1.3"]);
  fs.writeFileSync(path.join(where.directory, "pods/boot-id"), "another boot");
  t.equal(call(where, "DEL", { id: "g1", netns: "" }, conf(where)).code, 0);
  t.same(leases(), []);
});

t.test("versions, and errors by the numbers of the specification", { skip }, async (t) => {
  using where = place();
  const pod = { id: "v1", netns: where.pod() };
  t.match(call(where, "VERSION", pod, {}).answer, {
    supportedVersions: ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
  });
  t.match(call(where, "ADD", pod, conf(where, { cniVersion: "0.1.0" })), { code: 1, answer: { code: 1 } });
  t.match(call(where, "ADD", { id: "", netns: pod.netns }, conf(where)), { answer: { code: 4 } });
  t.match(call(where, "ADD", pod, conf(where, { ipam: {} })), { answer: { code: 7 } });
  t.match(call(where, "ADD", { id: "v2", netns: "/run/netns/not-there" }, conf(where)), {
    answer: { code: 3 },
  });
  const waiting = {
    ipam: { subnetFile: path.join(where.directory, "subnet.env"), dataDir: where.directory },
  };
  t.match(call(where, "ADD", pod, conf(where, waiting)), { answer: { code: 11 } });
  t.match(call(where, "STATUS", pod, conf(where, { ...waiting, cniVersion: "1.1.0" })), {
    answer: { code: 50 },
  });
  fs.writeFileSync(
    path.join(where.directory, "subnet.env"),
    "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\nFLANNEL_MTU=1450\n",
  );
  t.match(call(where, "STATUS", pod, conf(where, { ...waiting, cniVersion: "1.1.0" })), { code: 0 });
  t.match(call(where, "ADD", pod, conf(where, { ...waiting, cniVersion: "0.3.1", mtu: undefined })), {
    answer: { cniVersion: "0.3.1", ips: [{ version: "4", address: "10.5.52.2/24", gateway: "10.5.52.1" }] },
  });
  t.match(run(pod.netns, "ip", "link", "show", "eth0"), /mtu 1450/);
});

t.test(
  "a host port leads to the Pod, from the host and from the Pod itself; masquerade is written once",
  { skip },
  async (t) => {
    using where = place();
    const pod = { id: "p1", netns: where.pod() };
    const other = { id: "p2", netns: where.pod() };
    const portMappings = [
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: 5353, containerPort: 53, protocol: "udp" },
    ];
    const mapped = conf(where, {
      runtimeConfig: { portMappings },
      ipMasq: true,
      nonMasqueradeCIDRs: ["10.244.0.0/16"],
    });
    t.match(call(where, "ADD", pod, mapped), { code: 0 });
    const rules = run(where.host, "iptables-save", "-t", "nat");
    t.match(call(where, "ADD", other, conf(where, { ipMasq: true, nonMasqueradeCIDRs: ["10.244.0.0/16"] })), {
      code: 0,
    });
    const withoutCounters = (text: string) => text.replace(/\[\d+:\d+\]|^#.*$/gm, "");
    t.equal(withoutCounters(run(where.host, "iptables-save", "-t", "nat")), withoutCounters(rules));
    t.match(
      rules,
      /-A CNI-DN-[0-9a-f]{21} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10\.244\.1\.2:80/,
    );
    t.match(rules, /-A CNI-HOSTPORT-DNAT -p udp .*--dports 5353 -j CNI-DN-/);
    const server = spawnServer(pod.netns, 80);
    t.teardown(() => server.kill());
    await server.ready;
    for (const from of [where.host, other.netns, pod.netns]) {
      t.match(await fetchThrough(from, "10.244.1.1:8080"), /hello/, `from ${from}`);
    }
    t.match(await fetchThrough(where.host, "127.0.0.1:8080"), /hello/, "from 127.0.0.1");
    t.equal(call(where, "DEL", pod, conf(where)).code, 0);
    t.notMatch(run(where.host, "iptables-save", "-t", "nat"), /CNI-DN-|10\.244\.1\.2/);
  },
);

t.test(
  "the runner drives a chain of Debian's plugins",
  { skip: skip || (!fs.existsSync("/usr/lib/cni/bridge") && "needs containernetworking-plugins") },
  async (t) => {
    using where = place();
    const confDir = path.join(where.directory, "net.d");
    fs.mkdirSync(confDir);
    const bin = enteringPlugins(where, ["bridge", "host-local", "portmap"]);
    const runner = cniRunner({ confDir, binDirs: [bin], cacheDir: where.directory });
    t.match(await runner.ready(), { ready: false, why: /no network configuration/ });
    const plugins = [
      {
        type: "bridge",
        bridge: "cni0",
        isGateway: true,
        ipam: {
          type: "host-local",
          subnet: "10.99.0.0/24",
          routes: [{ dst: "0.0.0.0/0" }],
          dataDir: where.directory,
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ];
    fs.writeFileSync(
      path.join(confDir, "10-test.conflist"),
      JSON.stringify({ cniVersion: "1.0.0", name: "debian", plugins }),
    );
    t.same(await runner.ready(), { ready: true });
    const pod = attachment("r1", where.pod());
    t.same(await runner.add(pod, signal), { ips: ["10.99.0.2"] });
    t.same(await runner.addresses("r1"), ["10.99.0.2"]);
    t.match(run(pod.netnsPath, "ip", "addr"), /lo: .*UP[\s\S]*10\.99\.0\.2/);
    t.match(run(where.host, "iptables-save", "-t", "nat"), /--to-destination 10\.99\.0\.2:80/);
    await runner.delete({ ...pod, netnsPath: "" }, signal);
    t.notMatch(run(where.host, "iptables-save", "-t", "nat"), /10\.99\.0\.2/);
    await runner.delete(pod, signal);
    t.same(await runner.addresses("r1"), []);
    await t.rejects(runner.add(attachment("r2", "/run/netns/not-there"), signal));
  },
);

t.test("the runner drives our plugin like any other", { skip }, async (t) => {
  using where = place();
  const confDir = path.join(where.directory, "net.d");
  fs.mkdirSync(confDir);
  const bin = enteringPlugins(where, ["keelson"]);
  const plugin = { ...conf(where), capabilities: { portMappings: true } };
  fs.writeFileSync(
    path.join(confDir, "10-keelson.conflist"),
    JSON.stringify({ cniVersion: "1.1.0", name: "pods", plugins: [plugin] }),
  );
  const runner = cniRunner({ confDir, binDirs: [bin], cacheDir: where.directory });
  const pod = attachment("k1", where.pod());
  t.same(await runner.add(pod, signal), { ips: ["10.244.1.2"] });
  const cached = JSON.parse(
    fs.readFileSync(path.join(where.directory, "results/pods-k1-eth0"), "utf8"),
  ) as object;
  t.match(cached, {
    kind: "cniCacheV1",
    containerId: "k1",
    ifName: "eth0",
    networkName: "pods",
    result: { cniVersion: "1.1.0" },
  });
  await t.rejects(
    runner.add(pod, signal),
    { name: "CniError", message: /plugin "keelson"/ },
    "the same twice is refused",
  );
});

function attachment(sandboxId: string, netnsPath: string): NetworkAttachment {
  const portMappings = [{ protocol: "TCP" as const, containerPort: 80, hostPort: 8080, hostIp: "" }];
  return {
    sandboxId,
    netnsPath,
    podName: "web",
    podNamespace: "default",
    podUid: "u1",
    portMappings,
    annotations: {},
  };
}

/** Plugins that enter the test's host first: the runner itself runs in the machine's namespace. */
function enteringPlugins(where: Place, names: readonly string[]): string {
  const bin = path.join(where.directory, "bin");
  fs.mkdirSync(bin);
  for (const name of names) {
    const real = name === "keelson" ? `${process.execPath} ${entry}` : `/usr/lib/cni/${name}`;
    const isIpam = name === "host-local";
    fs.writeFileSync(
      path.join(bin, name),
      `#!/bin/sh\nexec ${isIpam ? "" : `nsenter --net=${where.host} `}${real}\n`,
      { mode: 0o755 },
    );
  }
  return bin;
}

function spawnServer(netns: string, port: number): { readonly ready: Promise<void>; kill(): void } {
  const code = `require("net").createServer((s) => s.end("hello")).listen(${port}, () => console.log("ready"))`;
  const child = spawn("nsenter", [`--net=${netns}`, process.execPath, "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  child.stdout.once("data", () => resolve());
  return { ready: promise, kill: () => child.kill() };
}

async function fetchThrough(netns: string, target: string): Promise<string> {
  const [host = "", port = ""] = target.split(":");
  const code = `const s=require("net").connect(${port},"${host}");s.setTimeout(3000,()=>s.destroy());s.on("data",(d)=>process.stdout.write(d));s.on("error",(e)=>process.stdout.write(String(e)))`;
  return run(netns, process.execPath, "-e", code);
}
