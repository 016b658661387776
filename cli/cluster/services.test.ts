import t from "tap";
import { parseFlags } from "#lib/flags.ts";
import { dnsAddress, type Machine, planServices } from "./services.ts";
import { upFlags } from "./settings.ts";
import { renderUnit } from "./systemd-unit.ts";

const settings = (...args: string[]) => parseFlags("keelson up", upFlags, args);
const machine = { nodeName: "n1", nodeIp: "10.0.0.1", program: "/opt/keelson/keelson" };
const own: Machine["runtime"] = {
  kind: "cri",
  endpoint: "unix:///run/k/c.sock",
  own: true,
  config: "/etc/k/c.toml",
};

t.test("our own containerd starts first, and only when no runtime answers", async (t) => {
  t.same(
    planServices(settings(), { ...machine, runtime: own }).map(({ name }) => name),
    ["containerd", "control", "node"],
  );
  const docker: Machine["runtime"] = { kind: "docker", endpoint: "unix:///var/run/docker.sock" };
  const services = planServices(settings(), { ...machine, runtime: docker });
  t.same(
    services.map(({ name }) => name),
    ["control", "node"],
  );
  t.ok(services[1]?.command.includes("--docker-endpoint=unix:///var/run/docker.sock"));
});
t.test("what up is asked for reaches the parts", async (t) => {
  const [, control, node] = planServices(
    settings(
      "--proxy-mode=userspace",
      "--insecure-port=8080",
      "--service-cluster-ip-range=10.1.0.0/16",
      "--pod-cache=off",
    ),
    { ...machine, runtime: own },
  );
  t.ok(control?.command.includes("--insecure-port=8080"));
  t.ok(control?.command.includes("--cluster-dns=10.1.0.10"));
  t.ok(node?.command.includes("--proxy-mode=userspace"));
  t.ok(node?.command.includes("--pod-cache=off"));
  t.ok(node?.command.includes("--fail-swap-on=false"), "a standalone cluster comes up where swap is on");
  t.equal(dnsAddress("10.96.0.0/16"), "10.96.0.10");
});
t.test("a proxy mode that would be refused later is refused by up", async (t) => {
  t.throws(() => settings("--proxy-mode=nftables"), /want "iptables" or "userspace"/);
});
t.test("a unit never kills what a Pod runs", async (t) => {
  const [, control] = planServices(settings("--tls-san=a b%c"), { ...machine, runtime: own });
  const unit = control === undefined ? "" : renderUnit(control);
  t.match(unit, /^KillMode=process$/m);
  t.match(unit, /"--tls-san=a b%%c"/, "blanks are quoted and % doubled");
});
