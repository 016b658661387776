import { contains, formatAddress, formatNetwork, parseAddress, parseCidr } from "#lib/ip.ts";
import { type Backend, type NetworkConfig, OverlayError } from "../model.ts";

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads flannel's `net-conf.json`. Its keys are read without regard to case, as Go does.
 * @throws {OverlayError} `bad-config`, saying which key and what it should be.
 */
export function parseNetConf(text: string): NetworkConfig {
  const conf = fold(parseJson(text));
  if (conf.get("enableipv4") === false)
    throw bad("EnableIPv4", false, "this version joins nodes over IPv4 only");
  const network = parseNetwork(conf.get("network"));
  if (network.prefix > 28) throw bad("Network", conf.get("network"), "it is at most a /28");
  const subnetLen = parseLength(conf.get("subnetlen"), network.prefix);
  const size = 1n << BigInt(32 - subnetLen);
  const text4 = (value: bigint): string => formatAddress({ family: 4, value });
  const bound = (key: "SubnetMin" | "SubnetMax", otherwise: bigint): string => {
    const given = conf.get(key.toLowerCase());
    if (given === undefined || given === "") return text4(otherwise);
    if (typeof given !== "string") throw bad(key, given, "want an address");
    const address = parseAddress(given);
    if (!contains(network, address)) throw bad(key, given, `it is not in ${formatNetwork(network)}`);
    if (address.value % size !== 0n) throw bad(key, given, `it is not the start of a /${subnetLen}`);
    return given;
  };
  return {
    network: formatNetwork(network),
    subnetLen,
    // The first subnet is left out: some software takes its zero address for the network's.
    subnetMin: bound("SubnetMin", network.first + size),
    subnetMax: bound("SubnetMax", network.last + 1n - size),
    backend: parseBackend(conf.get("backend")),
  };
}

function parseBackend(value: unknown): Backend {
  if (!isObject(value)) throw bad("Backend", value, `want {"Type":"vxlan"} or {"Type":"host-gw"}`);
  const backend = fold(value);
  const type = backend.get("type");
  const number = (key: string, otherwise: number, max: number): number => {
    const given = backend.get(key.toLowerCase());
    if (given === undefined) return otherwise;
    if (typeof given !== "number" || !Number.isInteger(given) || given < 0 || given > max) {
      throw bad(`Backend.${key}`, given, `want a whole number up to ${max}`);
    }
    return given;
  };
  if (type === "host-gw") return { type };
  if (type !== "vxlan") throw bad("Backend.Type", type, `this version knows "vxlan" and "host-gw"`);
  return {
    type,
    vni: number("VNI", 1, 0xff_ff_ff),
    port: number("Port", 0, 65_535) || 8_472,
    mtuBytes: number("MTU", 0, 65_535),
    gbp: backend.get("gbp") === true,
    learning: backend.get("learning") === true,
    directRouting: backend.get("directrouting") === true,
  };
}

function parseLength(value: unknown, prefix: number): number {
  if (value === undefined || value === 0) return prefix <= 22 ? 24 : prefix + 2;
  if (typeof value !== "number" || !Number.isInteger(value))
    throw bad("SubnetLen", value, "want a whole number");
  if (value > 30) throw bad("SubnetLen", value, "it is at most 30");
  if (value < prefix + 2)
    throw bad("SubnetLen", value, `the network has /${prefix}, so it is at least ${prefix + 2}`);
  return value;
}

function parseNetwork(value: unknown): ReturnType<typeof parseCidr> {
  if (typeof value !== "string") throw bad("Network", value, `want a CIDR such as "10.244.0.0/16"`);
  try {
    const cidr = parseCidr(value);
    if (cidr.family === 4) return cidr;
  } catch {
    // told below
  }
  throw bad("Network", value, `want an IPv4 CIDR such as "10.244.0.0/16"`);
}

function parseJson(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch (cause) {
    throw new OverlayError("bad-config", "cannot read net-conf.json: it is not JSON", { cause });
  }
  throw new OverlayError("bad-config", "cannot read net-conf.json: it is not a JSON object");
}

function fold(object: Json): ReadonlyMap<string, unknown> {
  return new Map(Object.entries(object).map(([key, value]) => [key.toLowerCase(), value]));
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function bad(key: string, value: unknown, want: string): OverlayError {
  return new OverlayError(
    "bad-config",
    `cannot use net-conf.json: "${key}" is ${JSON.stringify(value) ?? "missing"}: ${want}`,
  );
}
