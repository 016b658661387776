/**
 * Two hosts, each a network namespace, joined by a veth pair; real etcd on one of them. Each runs the overlay and
 * has Pods made by our CNI plugin. Nothing leaves the machine: neither host has another link.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { addAddress } from "#linux/netlink/addresses.ts";
import { createVeth, findLink, setLink } from "#linux/netlink/links.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { createNetns, deleteNetns, inNetns } from "#linux/netns.ts";
import { etcdMissing, startEtcd } from "../support/etcd.ts";

const etcdctlProgram = "/usr/bin/etcdctl";
const skip =
  process.getuid?.() === 0
    ? (etcdMissing ?? (!fs.existsSync(etcdctlProgram) && `needs ${etcdctlProgram}: apt install etcd-client`))
    : "needs root: sudo make test";
const root = path.join(import.meta.dirname, "../..");
const endpoint = "http://192.168.64.1:2379";
const prefix = "/coreos.com/network";

interface Host extends AsyncDisposable {
  readonly netns: string;
  readonly address: string;
  readonly subnetFile: string;
  startOverlay(...args: string[]): void;
  stopOverlay(signal: NodeJS.Signals): Promise<void>;
  log(): string;
  run(...command: string[]): string;
  /** Makes a Pod's namespace and joins it with the CNI plugin. @returns its path and address. */
  addPod(id: string): { readonly netns: string; readonly ip: string };
}

function makeHost(name: string, address: string, directory: string): Host {
  const names = [name];
  const netns = createNetns(name);
  const subnetFile = path.join(directory, `${name}.env`);
  const children: ChildProcess[] = [];
  let log = "";
  const run = (...command: string[]): string => {
    const done = spawnSync("nsenter", [`--net=${netns}`, ...command], { encoding: "utf8" });
    return done.stdout + done.stderr;
  };
  const stopOverlay = async (signal: NodeJS.Signals): Promise<void> => {
    for (const child of children.splice(0)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      child.once("exit", () => resolve());
      if (child.exitCode === null && child.signalCode === null) {
        child.kill(signal);
        await promise;
      }
    }
  };
  return {
    netns,
    address,
    subnetFile,
    run,
    log: () => log,
    stopOverlay,
    startOverlay: (...args) => {
      const child = spawn(
        "nsenter",
        [`--net=${netns}`, process.execPath, path.join(root, "test/support/run-overlay.ts"), ...args],
        {
          cwd: root,
          stdio: ["ignore", "ignore", "pipe"],
          env: {
            ...process.env,
            FLANNELD_ETCD_ENDPOINTS: endpoint,
            FLANNELD_IFACE: "eth0",
            FLANNELD_SUBNET_FILE: subnetFile,
          },
        },
      );
      child.stderr.on("data", (chunk: Buffer) => {
        log = (log + chunk.toString("utf8")).slice(-50_000);
      });
      children.push(child);
    },
    addPod: (id) => {
      const podName = `${name}-${id}`;
      names.push(podName);
      const pod = createNetns(podName);
      const conf = {
        cniVersion: "1.0.0",
        name: "pods",
        type: "keelson",
        ipam: { subnetFile, dataDir: path.join(directory, name) },
      };
      const done = spawnSync(
        "nsenter",
        [`--net=${netns}`, process.execPath, path.join(root, "cni/plugin-entry.ts")],
        {
          cwd: root,
          encoding: "utf8",
          input: JSON.stringify(conf),
          env: {
            ...process.env,
            CNI_COMMAND: "ADD",
            CNI_CONTAINERID: id,
            CNI_NETNS: pod,
            CNI_IFNAME: "eth0",
          },
        },
      );
      const answer = JSON.parse(done.stdout) as { readonly ips?: readonly { readonly address: string }[] };
      const ip = answer.ips?.[0]?.address.replace(/\/.*$/, "");
      if (ip === undefined) throw new Error(`cannot add a Pod: ${done.stdout}${done.stderr}`);
      return { netns: pod, ip };
    },
    [Symbol.asyncDispose]: async () => {
      await stopOverlay("SIGKILL");
      for (const one of names) deleteNetns(one);
    },
  };
}

/** Joins two hosts by one cable. */
function join(a: Host, b: Host): void {
  const netnsFd = fs.openSync(b.netns, "r");
  for (const [host, connect] of [
    [a, true],
    [b, false],
  ] as const) {
    inNetns(host.netns, () => {
      using socket = new NetlinkSocket();
      setLink(socket, 1, { up: true });
      if (connect) createVeth(socket, "eth0", { name: "eth0", netnsFd }, {});
      const index = findLink(socket, "eth0")?.index ?? 0;
      addAddress(socket, { link: index, address: host.address, prefix: 24 });
      setLink(socket, index, { up: true });
    });
  }
  fs.closeSync(netnsFd);
}

async function until(what: string, holds: () => boolean, ...hosts: readonly Host[]): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain until ${what}\n${hosts.map((host) => host.log()).join("\n---\n")}`);
}

/** Sends a megabyte over TCP from one Pod to another. @returns what the receiver saw: bytes and the sender's address. */
async function stream(from: string, to: { readonly netns: string; readonly ip: string }): Promise<string> {
  const serve = `require("net").createServer((s)=>{let n=0;s.on("data",(d)=>n+=d.length);s.on("end",()=>{s.end(n+" from "+s.remoteAddress)})}).listen(9000,"0.0.0.0",()=>console.log("ready"))`;
  const server = spawn("nsenter", [`--net=${to.netns}`, process.execPath, "-e", serve], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.stdout.once("data", () => resolve());
  await promise;
  const send = `const s=require("net").connect(9000,"${to.ip}",()=>s.end(Buffer.alloc(1e6)));s.setTimeout(5000,()=>{process.stdout.write("timeout");s.destroy()});s.on("data",(d)=>process.stdout.write(d));s.on("error",(e)=>process.stdout.write(String(e)))`;
  const done = spawnSync("nsenter", [`--net=${from}`, process.execPath, "-e", send], { encoding: "utf8" });
  server.kill();
  return done.stdout;
}

async function withHosts(
  backend: object,
  step: (a: Host, b: Host, etcdctl: (...args: string[]) => string) => Promise<void>,
): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "keelson-overlay-"));
  try {
    await using a = makeHost(`kl-ov-${process.pid}-a`, "192.168.64.1", directory);
    await using b = makeHost(`kl-ov-${process.pid}-b`, "192.168.64.2", directory);
    join(a, b);
    await using _etcd = await startEtcd({ netns: a.netns, listen: endpoint });
    const etcdctl = (...args: string[]): string => {
      const command = [`--net=${a.netns}`, etcdctlProgram, `--endpoints=${endpoint}`, ...args];
      const done = spawnSync("nsenter", command, {
        encoding: "utf8",
        env: { ...process.env, ETCDCTL_API: "3" },
      });
      if (done.status !== 0) throw new Error(`cannot run "etcdctl ${args.join(" ")}": ${done.stderr}`);
      return done.stdout.trim();
    };
    etcdctl("put", `${prefix}/config`, JSON.stringify({ Network: "10.5.0.0/16", backend: backend }));
    await step(a, b, etcdctl);
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

t.test("two hosts, etcd and VXLAN: Pods talk across, and what is broken is mended", { skip }, async (t) => {
  await withHosts({ Type: "vxlan" }, async (a, b, etcdctl) => {
    a.startOverlay("--ip-masq");
    b.startOverlay("--ip-masq");
    const isUp = (host: Host) => fs.existsSync(host.subnetFile);
    await until("both have a subnet", () => isUp(a) && isUp(b), a, b);
    const [envA, envB] = [a, b].map((host) => fs.readFileSync(host.subnetFile, "utf8"));
    const form =
      /^FLANNEL_NETWORK=10\.5\.0\.0\/16\nFLANNEL_SUBNET=10\.5\.\d+\.1\/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n$/;
    t.match(envA, form);
    t.match(envB, form);
    t.not(envA, envB);

    const subnetOf = (env = "") => /FLANNEL_SUBNET=(10\.5\.\d+)\.1/.exec(env)?.[1] ?? "";
    const macOf = (host: Host) =>
      /link\/ether (\S+)/.exec(host.run("ip", "link", "show", "flannel.1"))?.[1] ?? "";
    t.match(
      a.run("ip", "-d", "addr", "show", "flannel.1"),
      /mtu 1450[\s\S]*vxlan id 1 local 192\.168\.64\.1 dev eth0 [\s\S]*dstport 8472 nolearning[\s\S]*inet 10\.5\.\d+\.0\/32/,
    );
    const key = `${prefix}/subnets/${subnetOf(envA)}.0-24`;
    const golden = `${key}\n{"PublicIP":"192.168.64.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"${macOf(a)}"}}`;
    t.equal(etcdctl("get", key), golden, "the lease is flannel's to the byte");

    const routeToB = () => a.run("ip", "route", "show", `${subnetOf(envB)}.0/24`);
    await until("a has a route to b", () => routeToB().includes("flannel.1"), a, b);
    await until("b has a route to a", () => b.run("ip", "route").includes(`${subnetOf(envA)}.0/24`), a, b);
    const podA = a.addPod("a1");
    const podB = b.addPod("b1");
    t.equal(await stream(podA.netns, podB), `1000000 from ${podA.ip}`, "the Pod's own address is seen");
    t.equal(await stream(podB.netns, podA), `1000000 from ${podB.ip}`);
    t.match(await stream(b.netns, podA), /^1000000 from 10\.5\./, "a host reaches a Pod of the other host");

    const rules = a.run("iptables", "-t", "nat", "-S", "FLANNEL-POSTRTG");
    t.match(
      rules,
      /-s 10\.5\.0\.0\/16 ! -d 224\.0\.0\.0\/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully/,
    );
    a.run("iptables", "-t", "nat", "-F", "FLANNEL-POSTRTG");
    await until(
      "the rules are back",
      () => a.run("iptables", "-t", "nat", "-S", "FLANNEL-POSTRTG") === rules,
      a,
    );

    a.run("ip", "route", "del", `${subnetOf(envB)}.0/24`);
    a.run("bridge", "fdb", "del", macOf(b), "dev", "flannel.1", "dst", "192.168.64.2", "self");
    a.run("ip", "neigh", "flush", "dev", "flannel.1", "nud", "permanent");
    await until("the route is back", () => routeToB().includes("flannel.1"), a);
    t.equal(
      await stream(podA.netns, podB),
      `1000000 from ${podA.ip}`,
      "route, neighbour and forwarding entry are back",
    );

    const macBefore = macOf(a);
    a.run("ip", "link", "del", "flannel.1");
    await until("the device is back", () => routeToB().includes("flannel.1"), a);
    t.equal(macOf(a), macBefore, "with the MAC the others know");
    t.equal(await stream(podB.netns, podA), `1000000 from ${podB.ip}`);

    etcdctl("del", key);
    await until("the lease is claimed again", () => etcdctl("get", key) === golden, a);

    await a.stopOverlay("SIGKILL");
    t.equal(
      await stream(podA.netns, podB),
      `1000000 from ${podA.ip}`,
      "without the overlay packets still pass",
    );
    a.startOverlay("--ip-masq");
    const revision = () => etcdctl("get", key, "-w", "fields");
    const before = revision();
    await until("the lease is renewed", () => revision() !== before, a);
    t.equal(fs.readFileSync(a.subnetFile, "utf8"), envA, "after a restart the subnet is the same");
    t.equal(etcdctl("get", key), golden);

    await b.stopOverlay("SIGTERM");
    etcdctl("del", `${prefix}/subnets/${subnetOf(envB)}.0-24`);
    await until("the route to b is gone", () => routeToB() === "", a);
    t.notMatch(a.run("bridge", "fdb", "show", "dev", "flannel.1"), /192\.168\.64\.2/);
    t.equal(a.run("ip", "neigh", "show", "dev", "flannel.1"), "");
  });
});

t.test("host-gw routes over the wire, and a reserved subnet stays reserved", { skip }, async (t) => {
  await withHosts({ Type: "host-gw" }, async (a, b, etcdctl) => {
    const reserved = `${prefix}/subnets/10.5.77.0-24`;
    etcdctl("put", reserved, '{"PublicIP":"192.168.64.2"}');
    a.startOverlay();
    b.startOverlay("--ip-blackhole-route");
    await until("b has a route to a", () => b.run("ip", "route").includes("via 192.168.64.1 dev eth0"), a, b);
    await until(
      "a has a route to b",
      () => a.run("ip", "route").includes("10.5.77.0/24 via 192.168.64.2 dev eth0"),
      a,
      b,
    );
    t.equal(
      etcdctl("get", reserved),
      `${reserved}\n{"PublicIP":"192.168.64.2","PublicIPv6":null,"BackendType":"host-gw"}`,
    );
    t.match(etcdctl("get", reserved, "-w", "fields"), /"Lease" : 0/);
    t.match(fs.readFileSync(b.subnetFile, "utf8"), /FLANNEL_SUBNET=10\.5\.77\.1\/24\nFLANNEL_MTU=1500/);
    t.match(b.run("ip", "route"), /blackhole 10\.5\.77\.0\/24 proto 107 metric 65535/);
    const podA = a.addPod("a1");
    const podB = b.addPod("b1");
    t.equal(await stream(podA.netns, podB), `1000000 from ${podA.ip}`);
  });
});
