import { execFileSync } from "node:child_process";
import path from "node:path";
import t from "tap";

const skip = process.getuid?.() === 0 ? false : "needs root: sudo make test";

t.test("one UDP flow is deleted, its neighbours and TCP stay", { skip }, async (t) => {
  const name = `kpx-ct-${process.pid}`;
  execFileSync("ip", ["netns", "add", name]);
  t.teardown(() => void execFileSync("ip", ["netns", "del", name]));
  const run = (program: string, ...args: string[]) =>
    execFileSync("nsenter", [`--net=/run/netns/${name}`, program, ...args], {
      encoding: "utf8",
      stdio: "pipe",
    });
  const add = (protocol: string, to: string, port: string, answers: string, ...more: string[]) =>
    run(
      "conntrack",
      "-I",
      "-p",
      protocol,
      "-s",
      "10.0.0.1",
      "-d",
      to,
      "--sport",
      "4000",
      "--dport",
      port,
      "--reply-src",
      answers,
      "--reply-dst",
      "10.0.0.1",
      "--reply-port-src",
      port,
      "--reply-port-dst",
      "4000",
      "-t",
      "100",
      ...more,
    );
  add("udp", "10.96.0.10", "53", "10.244.0.5");
  add("udp", "10.96.0.10", "54", "10.244.0.5");
  add("tcp", "10.96.0.10", "53", "10.244.0.5", "--state", "ESTABLISHED");
  const { before, deleted, after } = JSON.parse(
    run(process.execPath, path.join(import.meta.dirname, "conntrack-child.ts")),
  ) as Record<string, unknown>;
  t.same(before, ["10.96.0.10:53 10.244.0.5:53", "10.96.0.10:54 10.244.0.5:54"]);
  t.same(deleted, [true, false], "gone already is no error");
  t.same(after, ["10.96.0.10:54 10.244.0.5:54"]);
  t.match(run("conntrack", "-L", "-p", "tcp"), /dst=10\.96\.0\.10/);
});
