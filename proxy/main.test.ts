import t from "tap";
import { ApiClient } from "#api/client.ts";
import { FakeClock } from "#lib/clock.ts";
import { parseFlags, UsageError } from "#lib/flags.ts";
import { noLog } from "#lib/log.ts";
import { flags } from "./config.ts";
import { runProxy } from "./main.ts";

const client = new ApiClient({
  send: () => Promise.reject(new Error("away")),
  reset: () => undefined,
  close: async () => undefined,
});
const ports = { log: noLog, clock: new FakeClock(), random: () => 0, client };
const parse = (...args: string[]) => parseFlags("keelson proxy", flags, args);

t.test("a configuration file that is not there is named", async (t) => {
  await t.rejects(runProxy(parse("--config", "/nope.yaml"), ports, AbortSignal.any([])), /nope\.yaml/);
});
const wrong = [
  {
    name: "nftables mode is refused in words, naming those that work",
    args: ["--proxy-mode", "nftables"],
    message: /"nftables" is not supported yet; want "iptables" or "userspace"/,
  },
  {
    name: "ipvs is refused",
    args: ["--proxy-mode", "ipvs"],
    message: /"ipvs" is not supported; want "iptables" or "userspace"/,
  },
  {
    name: "a range without a length is refused",
    args: ["--cluster-cidr", "10.0.0.0"],
    message: /want a range/,
  },
  {
    name: "a mark bit out of range is refused",
    args: ["--iptables-masquerade-bit", "32"],
    message: /0 to 31/,
  },
  {
    name: "an address without a port is refused",
    args: ["--healthz-bind-address", "0.0.0.0"],
    message: /want an address/,
  },
];
for (const { name, args, message } of wrong) {
  t.test(name, async (t) => {
    t.throws(() => parse(...args), UsageError);
    t.throws(() => parse(...args), message);
  });
}
