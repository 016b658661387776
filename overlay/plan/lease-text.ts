import { formatNetwork, parseAddress, parseCidr } from "#lib/ip.ts";
import type { LeaseAttributes, SubnetLease } from "../model.ts";

/** Leases as flannel writes them to etcd, to the byte: its nodes and ours share one network. */

/** `10.5.52.0/24` -> `/coreos.com/network/subnets/10.5.52.0-24` */
export function leaseKey(prefix: string, subnet: string): string {
  return `${subnetsPrefix(prefix)}${subnet.replace("/", "-")}`;
}

/** What every lease's key begins with. */
export function subnetsPrefix(prefix: string): string {
  return `${prefix.replace(/\/+$/, "")}/subnets/`;
}

/** The subnet a key stands for; undefined for a key that is no lease. A second, IPv6 subnet is passed over. */
export function parseLeaseKey(key: string): string | undefined {
  const [, ip = "", length = ""] = /(\d+\.\d+\.\d+\.\d+)-(\d+)(?:&([a-f\d:]+)-(\d+))?$/.exec(key) ?? [];
  try {
    return formatNetwork(parseCidr(`${ip}/${length}`));
  } catch {
    return undefined;
  }
}

/** The value of a lease. Go writes fields in the order they were declared, and `PublicIPv6` also when it is none. */
export function renderLeaseValue(attributes: LeaseAttributes): string {
  return JSON.stringify({
    PublicIP: attributes.publicIp,
    PublicIPv6: null,
    BackendType: attributes.backendType,
    ...(attributes.vtep === undefined ? {} : { BackendData: renderVtep(attributes.vtep) }),
  });
}

/** `BackendData` of vxlan, also the value of the node annotation `backend-data`. */
export function renderVtep(vtep: { readonly vni: number; readonly mac: string }): {
  VNI: number;
  VtepMAC: string;
} {
  return { VNI: vtep.vni, VtepMAC: vtep.mac };
}

/** Reads a lease's value; undefined when it is not one. */
export function parseLeaseValue(text: string): LeaseAttributes | undefined {
  const value = fold(tryJson(text));
  const publicIp = value.get("publicip");
  if (typeof publicIp !== "string" || !isV4(publicIp)) return undefined;
  const type = value.get("backendtype");
  return {
    publicIp,
    backendType: typeof type === "string" ? type : "",
    vtep: parseVtep(value.get("backenddata")),
  };
}

/** Reads `{"VNI":1,"VtepMAC":"c6:bf:..."}`, as an object or as text. */
export function parseVtep(data: unknown): LeaseAttributes["vtep"] {
  const value = fold(typeof data === "string" ? tryJson(data) : data);
  const mac = value.get("vtepmac");
  if (typeof mac !== "string" || !/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) return undefined;
  const vni = value.get("vni");
  return { vni: typeof vni === "number" ? vni : 1, mac: mac.toLowerCase() };
}

/** A lease from its key and value; undefined when either is not one. */
export function parseLease(key: string, value: string): SubnetLease | undefined {
  const subnet = parseLeaseKey(key);
  const attributes = parseLeaseValue(value);
  return subnet === undefined || attributes === undefined ? undefined : { subnet, attributes };
}

function isV4(text: string): boolean {
  try {
    return parseAddress(text).family === 4;
  } catch {
    return false;
  }
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function fold(value: unknown): ReadonlyMap<string, unknown> {
  if (typeof value !== "object" || value === null) return new Map();
  return new Map(Object.entries(value).map(([key, one]) => [key.toLowerCase(), one]));
}
