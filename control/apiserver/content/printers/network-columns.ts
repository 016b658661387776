import type { Column, StoredObject } from "../../../model.ts";
import { at, list, records, scalar, text } from "../json.ts";
import { ageColumn, column, formatLabelSelector, formatLabels, nameColumn, textAt, wide } from "./cells.ts";

const maxShown = 3;

/** The first few, and how many more there are. */
function some(all: readonly string[], none = "<none>", max: number = maxShown): string {
  if (all.length === 0) return none;
  const shown = all.slice(0, max).join(",");
  return all.length > max ? `${shown} + ${all.length - max} more...` : shown;
}

const loadBalancers = (object: StoredObject): readonly string[] =>
  records(at(object, "status.loadBalancer.ingress")).map(
    (each) => text(each["ip"]) || text(each["hostname"]),
  );

function externalIp(service: StoredObject): string {
  const external = list(at(service, "spec.externalIPs")).map(text);
  switch (at(service, "spec.type")) {
    case "LoadBalancer":
      return [...loadBalancers(service), ...external].join(",") || "<pending>";
    case "ExternalName":
      return text(at(service, "spec.externalName"));
    default:
      return external.join(",") || "<none>";
  }
}

const servicePorts = (service: StoredObject): string =>
  records(at(service, "spec.ports"))
    .map((each) => {
      const node = scalar(each["nodePort"]);
      return `${scalar(each["port"])}${node === "" || node === "0" ? "" : `:${node}`}/${text(each["protocol"]) || "TCP"}`;
    })
    .join(",") || "<none>";

/** `ip:port` of every address, port by port. */
function endpointAddresses(endpoints: StoredObject): readonly string[] {
  return records(endpoints["subsets"]).flatMap((subset) => {
    const addresses = records(subset["addresses"]).map((each) => text(each["ip"]));
    const ports = records(subset["ports"]);
    if (ports.length === 0) return addresses;
    return ports.flatMap((port) => addresses.map((ip) => joinHostPort(ip, scalar(port["port"]))));
  });
}

const joinHostPort = (host: string, port: string): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

function slicePorts(slice: StoredObject): string {
  const ports = records(slice["ports"]).map((each) => scalar(each["port"]) || scalar(each["name"]) || "*");
  return some(ports, "<unset>");
}

const ingressHosts = (ingress: StoredObject): string =>
  some(
    records(at(ingress, "spec.rules"))
      .map((rule) => text(rule["host"]))
      .filter((host) => host !== ""),
    "*",
  );

/** Kind -> columns of what moves packets. */
export const networkColumns: Readonly<Record<string, readonly Column[]>> = {
  Service: [
    nameColumn,
    column("Type", textAt("spec.type", "ClusterIP")),
    column("Cluster-IP", textAt("spec.clusterIP")),
    column("External-IP", externalIp),
    column("Port(s)", servicePorts),
    ageColumn,
    wide("Selector", (service) => formatLabels(at(service, "spec.selector"))),
  ],
  Endpoints: [nameColumn, column("Endpoints", (object) => some(endpointAddresses(object))), ageColumn],
  EndpointSlice: [
    nameColumn,
    column("AddressType", textAt("addressType", "")),
    column("Ports", slicePorts),
    column("Endpoints", (slice) =>
      some(
        records(slice["endpoints"]).flatMap((each) => list(each["addresses"]).map(text)),
        "<unset>",
      ),
    ),
    ageColumn,
  ],
  Ingress: [
    nameColumn,
    column("Class", textAt("spec.ingressClassName")),
    column("Hosts", ingressHosts),
    column("Address", (ingress) => loadBalancers(ingress).join(",")),
    column("Ports", (ingress) => (records(at(ingress, "spec.tls")).length > 0 ? "80, 443" : "80")),
    ageColumn,
  ],
  IngressClass: [
    nameColumn,
    column("Controller", textAt("spec.controller")),
    column("Parameters", (object) => {
      const kind = text(at(object, "spec.parameters.kind"));
      const group = text(at(object, "spec.parameters.apiGroup"));
      if (kind === "") return "<none>";
      return `${kind}${group === "" ? "" : `.${group}`}/${text(at(object, "spec.parameters.name"))}`;
    }),
    ageColumn,
  ],
  NetworkPolicy: [
    nameColumn,
    column("Pod-Selector", (object) => formatLabelSelector(at(object, "spec.podSelector"))),
    ageColumn,
  ],
};
