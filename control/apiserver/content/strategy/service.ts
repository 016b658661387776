import { isIP } from "node:net";
import type { FieldError, StoredObject } from "../../../model.ts";
import { type Json, list, record, records, scalar, text } from "../json.ts";
import { duplicate, forbidden, immutable, invalid, required } from "./errors.ts";
import { each, fill, inSpec, isUnset } from "./fill.ts";
import type { KindRules } from "./generic.ts";
import { validateLabels } from "./metadata.ts";
import { labelFaults, portFaults, portNameFaults, subdomainFaults } from "./names.ts";
import { faultsAt, oneOf, protocols, repeated } from "./pod-validation.ts";

const types: readonly string[] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const affinitySeconds = 10_800;

/** The address and the node ports are allocated by the engine; here is what follows from the object alone. */
export const serviceRules: KindRules = {
  allowCreateOnUpdate: true,
  defaults: (service) => inSpec(service, specDefaults),
  initialStatus: () => ({ loadBalancer: {} }),
  prepareUpdate: keepAllocated,
  validate: (service) => validateSpec(record(service["spec"])),
  validateUpdate: (next, before) => {
    const [ip, old] = [text(record(next["spec"])["clusterIP"]), text(record(before["spec"])["clusterIP"])];
    const external = [next, before].some((each) => record(each["spec"])["type"] === "ExternalName");
    return external || old === "" || ip === old ? [] : [immutable("spec.clusterIP", ip)];
  },
};

const isExposed = (spec: Json): boolean => spec["type"] === "NodePort" || spec["type"] === "LoadBalancer";

function specDefaults(spec: Json): Json {
  const typed = fill(spec, { type: "ClusterIP", sessionAffinity: "None" });
  const external = typed["type"] === "ExternalName";
  const reachable = isExposed(typed) || list(typed["externalIPs"]).length > 0;
  const { sessionAffinityConfig: _config, ...withoutConfig } = typed;
  const filled = fill(typed["sessionAffinity"] === "ClientIP" ? typed : withoutConfig, {
    ...(typed["sessionAffinity"] === "ClientIP"
      ? { sessionAffinityConfig: { clientIP: { timeoutSeconds: affinitySeconds } } }
      : {}),
    ...(external
      ? {}
      : {
          internalTrafficPolicy: "Cluster",
          ipFamilies: [familyOf(text(typed["clusterIP"]))],
          ipFamilyPolicy: "SingleStack",
        }),
    ...(reachable && !external ? { externalTrafficPolicy: "Cluster" } : {}),
    ...(typed["type"] === "LoadBalancer" ? { allocateLoadBalancerNodePorts: true } : {}),
  });
  const ip = filled["clusterIP"];
  const withIps = isUnset(ip) || external ? filled : fill(filled, { clusterIPs: [ip] });
  return each(withIps, "ports", (port) => {
    const named = fill(port, { protocol: "TCP" });
    return named["targetPort"] === 0 || isUnset(named["targetPort"])
      ? { ...named, targetPort: named["port"] }
      : named;
  });
}

const familyOf = (ip: string): string => (isIP(ip) === 6 ? "IPv6" : "IPv4");

/** A client that leaves out what was allocated for it does not give it up. */
function keepAllocated(next: StoredObject, before: StoredObject): StoredObject {
  const [spec, old] = [record(next["spec"]), record(before["spec"])];
  if (spec["type"] === "ExternalName") {
    const {
      clusterIP: _ip,
      clusterIPs: _ips,
      ipFamilies: _f,
      ipFamilyPolicy: _p,
      internalTrafficPolicy: _i,
      ...rest
    } = spec;
    return { ...next, spec: rest };
  }
  const wasExternal = old["type"] === "ExternalName";
  const kept = wasExternal
    ? spec
    : fill(spec, { clusterIP: old["clusterIP"], clusterIPs: old["clusterIPs"] });
  if (!isExposed(kept) || !isExposed(old)) return { ...next, spec: kept };
  const oldPorts = records(old["ports"]);
  const taken = new Set(records(kept["ports"]).map((port) => port["nodePort"]));
  return {
    ...next,
    spec: each(fill(kept, { healthCheckNodePort: old["healthCheckNodePort"] }), "ports", (port) => {
      if (!isUnset(port["nodePort"]) && port["nodePort"] !== 0) return port;
      const same = oldPorts.find(
        (each) => each["port"] === port["port"] && each["protocol"] === port["protocol"],
      );
      const nodePort = same?.["nodePort"];
      return typeof nodePort !== "number" || taken.has(nodePort) ? port : { ...port, nodePort };
    }),
  };
}

function validateSpec(spec: Json): readonly FieldError[] {
  const ports = records(spec["ports"]);
  const ip = text(spec["clusterIP"]);
  const external = spec["type"] === "ExternalName";
  const keys = ports.map((port) => `${text(port["protocol"])}/${scalar(port["port"])}`);
  const nodePorts = ports.map((port) =>
    typeof port["nodePort"] === "number" && port["nodePort"] !== 0
      ? `${text(port["protocol"])}/${port["nodePort"]}`
      : "",
  );
  return [
    ...oneOf("spec.type", spec["type"], types),
    ...oneOf("spec.sessionAffinity", spec["sessionAffinity"], ["ClientIP", "None"]),
    ...oneOf("spec.internalTrafficPolicy", spec["internalTrafficPolicy"], ["Cluster", "Local"]),
    ...oneOf("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], ["Cluster", "Local"]),
    ...(ports.length === 0 && !external && ip !== "None" ? [required("spec.ports")] : []),
    ...ports.flatMap((port, index) => validatePort(port, `spec.ports[${index}]`, ports.length > 1, spec)),
    ...repeated(
      ports.map((port) => text(port["name"])),
      (index) => `spec.ports[${index}].name`,
    ),
    ...ports.flatMap((port, index) =>
      keys.indexOf(keys[index] ?? "") < index
        ? [duplicate(`spec.ports[${index}]`, { protocol: port["protocol"], port: port["port"] })]
        : [],
    ),
    ...nodePorts.flatMap((key, index) =>
      key !== "" && nodePorts.indexOf(key) < index
        ? [duplicate(`spec.ports[${index}].nodePort`, ports[index]?.["nodePort"])]
        : [],
    ),
    ...validateLabels(spec["selector"], "spec.selector"),
    ...(external ? validateExternalName(spec) : []),
    ...(ip !== "" && ip !== "None" && isIP(ip) === 0
      ? [invalid("spec.clusterIPs[0]", ip, "must be empty, 'None', or a valid IP address")]
      : []),
    ...(isExposed(spec) && ip === "None"
      ? [invalid("spec.clusterIPs[0]", ip, `may not be set to 'None' for ${text(spec["type"])} services`)]
      : []),
    ...list(spec["externalIPs"]).flatMap((each, index) =>
      isIP(text(each)) === 0
        ? [
            invalid(
              `spec.externalIPs[${index}]`,
              text(each),
              "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
          ]
        : [],
    ),
  ];
}

function validateExternalName(spec: Json): readonly FieldError[] {
  const name = text(spec["externalName"]).replace(/\.$/, "");
  return name === ""
    ? [required("spec.externalName")]
    : faultsAt("spec.externalName", name, subdomainFaults(name));
}

function validatePort(port: Json, field: string, nameNeeded: boolean, spec: Json): readonly FieldError[] {
  const name = text(port["name"]);
  const target = port["targetPort"];
  const nodePort = port["nodePort"];
  const wantsNodePort = typeof nodePort === "number" && nodePort !== 0;
  return [
    ...(name === ""
      ? nameNeeded
        ? [required(`${field}.name`)]
        : []
      : faultsAt(`${field}.name`, name, labelFaults(name))),
    ...faultsAt(`${field}.port`, port["port"] ?? 0, portFaults(port["port"])),
    ...oneOf(`${field}.protocol`, port["protocol"], protocols),
    ...(typeof target === "string"
      ? faultsAt(`${field}.targetPort`, target, portNameFaults(target))
      : faultsAt(`${field}.targetPort`, target ?? 0, portFaults(target ?? port["port"]))),
    ...(wantsNodePort && !isExposed(spec)
      ? [forbidden(`${field}.nodePort`, `may not be used when \`type\` is '${text(spec["type"])}'`)]
      : []),
  ];
}
