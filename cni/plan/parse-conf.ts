import { parseAddress, parseCidr } from "#lib/ip.ts";
import {
  type AttachmentKey,
  CniError,
  type CniResult,
  type CniVersion,
  cniErrorCode,
  type Dns,
  type IpamConf,
  type IpRange,
  type PluginConf,
  type PortMapping,
  type Route,
  supportedVersions,
} from "../model.ts";
import { bool, isObject, type Json, list, number, object, string, strings } from "./json.ts";

const defaultDataDir = "/var/lib/keelson/cni";
const nameForm = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/**
 * Reads what a runtime writes to a plugin's standard input.
 * @throws {CniError} 6 when it is no JSON, 1 for a version we do not speak, 7 when a field makes no sense.
 */
export function parseConf(text: string): PluginConf {
  const conf = parseJson(text);
  const cniVersion = parseVersion(conf);
  const name = string(conf["name"]);
  if (!nameForm.test(name)) throw invalid("name", name, `want letters, digits, "_", "." and "-"`);
  const runtime = object(conf["runtimeConfig"]);
  const dns = isObject(runtime["dns"]) ? parseRuntimeDns(runtime["dns"]) : parseDns(conf["dns"]);
  return {
    cniVersion,
    name,
    type: string(conf["type"]),
    bridge: string(conf["bridge"]) || "cni0",
    mtuBytes: number(conf["mtu"]) || undefined,
    hairpinMode: bool(conf["hairpinMode"], true),
    promiscMode: bool(conf["promiscMode"], false),
    isolated: bool(conf["portIsolation"], false),
    ipMasq: bool(conf["ipMasq"], false),
    forward: bool(conf["forward"], true),
    nonMasqueradeCidrs: strings(conf["nonMasqueradeCIDRs"] ?? conf["nonMasqueradeCidrs"]).map((cidr) =>
      checkCidr("nonMasqueradeCIDRs", cidr),
    ),
    ipam: parseIpam(object(conf["ipam"]), runtime["ipRanges"]),
    portMappings: list(runtime["portMappings"]).flatMap(parsePortMapping),
    dns,
    prevResult: isObject(conf["prevResult"]) ? parseResult(conf["prevResult"]) : undefined,
    validAttachments: list(conf["cni.dev/valid-attachments"]).map(parseAttachment),
  };
}

/** The version alone, for error answers; 1.1.0 when it cannot be told. */
export function versionOf(text: string): string {
  try {
    return string(parseJson(text)["cniVersion"]) || "0.2.0";
  } catch {
    return "1.1.0";
  }
}

/** The version of a configuration of type `loopback`, which has no network; undefined for every other type. */
export function loopbackVersion(text: string): CniVersion | undefined {
  const conf = parseJson(text);
  return string(conf["type"]) === "loopback" ? parseVersion(conf) : undefined;
}

/** Reads a result of version 0.3.0 or later. */
export function parseResult(result: Json): CniResult {
  return {
    interfaces: list(result["interfaces"]).map((item) => ({
      name: string(item["name"]),
      ...(string(item["mac"]) === "" ? {} : { mac: string(item["mac"]) }),
      ...(number(item["mtu"]) === 0 ? {} : { mtu: number(item["mtu"]) }),
      ...(string(item["sandbox"]) === "" ? {} : { sandbox: string(item["sandbox"]) }),
    })),
    ips: list(result["ips"]).map((item) => ({
      address: string(item["address"]),
      ...(string(item["gateway"]) === "" ? {} : { gateway: string(item["gateway"]) }),
      ...(typeof item["interface"] === "number" ? { interface: item["interface"] } : {}),
    })),
    routes: list(result["routes"]).map(parseRoute),
    dns: parseDns(result["dns"]) ?? {},
  };
}

function parseJson(text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CniError(
      cniErrorCode.undecodable,
      "cannot read the network configuration: it is not JSON",
      String(cause),
    );
  }
  if (!isObject(value)) {
    throw new CniError(
      cniErrorCode.undecodable,
      "cannot read the network configuration: it is not a JSON object",
    );
  }
  return value;
}

function parseVersion(conf: Json): CniVersion {
  const text = string(conf["cniVersion"]) || "0.2.0";
  const version = supportedVersions.find((known) => known === text);
  if (version !== undefined) return version;
  throw new CniError(
    cniErrorCode.incompatibleVersion,
    `cannot speak version "${text}" of CNI; want one of ${supportedVersions.join(", ")}`,
  );
}

function parseIpam(ipam: Json, runtimeRanges: unknown): IpamConf {
  const type = string(ipam["type"]);
  if (type !== "" && type !== "keelson" && type !== "host-local") {
    throw invalid("ipam.type", type, `want "keelson"; for another allocator use the bridge plugin`);
  }
  const single = string(ipam["subnet"]) === "" ? [] : [[parseRange(ipam)]];
  const sets = Array.isArray(ipam["ranges"])
    ? ipam["ranges"].map((set: unknown) => list(set).map(parseRange))
    : [];
  const fromRuntime = Array.isArray(runtimeRanges)
    ? runtimeRanges.map((set: unknown) => list(set).map(parseRange))
    : [];
  const rangeSets = fromRuntime.length > 0 ? fromRuntime : [...single, ...sets];
  const subnetFile = string(ipam["subnetFile"]) || undefined;
  if (rangeSets.length === 0 && subnetFile === undefined) {
    throw invalid("ipam", "", `want "subnet", "ranges" or "subnetFile"`);
  }
  return {
    rangeSets,
    subnetFile: fromRuntime.length > 0 ? undefined : subnetFile,
    routes: list(ipam["routes"]).map(parseRoute),
    dataDir: string(ipam["dataDir"]) || defaultDataDir,
  };
}

function parseRange(range: Json): IpRange {
  const address = (field: string): Record<string, string> => {
    const text = string(range[field]);
    if (text === "") return {};
    try {
      parseAddress(text);
    } catch {
      throw invalid(`ipam.${field}`, text, "want an IP address");
    }
    return { [field]: text };
  };
  return {
    subnet: checkCidr("ipam.subnet", string(range["subnet"])),
    ...address("rangeStart"),
    ...address("rangeEnd"),
    ...address("gateway"),
  };
}

function parsePortMapping(item: Json): PortMapping[] {
  const hostPort = number(item["hostPort"]);
  const containerPort = number(item["containerPort"]);
  if (hostPort === 0) return []; // asked for nothing
  const protocol = (string(item["protocol"]) || "tcp").toLowerCase();
  if (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp") {
    throw invalid("portMappings.protocol", protocol, "want tcp, udp or sctp");
  }
  if (hostPort > 65_535 || containerPort < 1 || containerPort > 65_535) {
    throw invalid("portMappings", `${hostPort}:${containerPort}`, "want ports from 1 to 65535");
  }
  const hostIp = string(item["hostIP"]);
  if (hostIp !== "") parseAddress(hostIp);
  return [
    { protocol, hostPort, containerPort, hostIp: hostIp === "0.0.0.0" || hostIp === "::" ? "" : hostIp },
  ];
}

function parseAttachment(item: Json): AttachmentKey {
  return { containerId: string(item["containerID"]), ifName: string(item["ifname"]) };
}

function parseRoute(route: Json): Route {
  const gw = string(route["gw"]);
  return { dst: checkCidr("routes.dst", string(route["dst"])), ...(gw === "" ? {} : { gw }) };
}

function parseDns(value: unknown): Dns | undefined {
  if (!isObject(value)) return undefined;
  const domain = string(value["domain"]);
  return {
    ...(strings(value["nameservers"]).length === 0 ? {} : { nameservers: strings(value["nameservers"]) }),
    ...(domain === "" ? {} : { domain }),
    ...(strings(value["search"]).length === 0 ? {} : { search: strings(value["search"]) }),
    ...(strings(value["options"]).length === 0 ? {} : { options: strings(value["options"]) }),
  };
}

/** The `dns` capability spells its fields in its own way. */
function parseRuntimeDns(value: Json): Dns | undefined {
  return parseDns({ nameservers: value["servers"], search: value["searches"], options: value["options"] });
}

function checkCidr(field: string, text: string): string {
  try {
    parseCidr(text);
    return text;
  } catch {
    throw invalid(field, text, `want a CIDR such as "10.244.1.0/24"`);
  }
}

function invalid(field: string, value: string, want: string): CniError {
  return new CniError(cniErrorCode.invalidConfig, `cannot use field "${field}" with "${value}": ${want}`);
}
