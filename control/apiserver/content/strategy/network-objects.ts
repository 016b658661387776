import { isIP } from "node:net";
import type { FieldError, StoredObject } from "../../../model.ts";
import { type Json, list, record, records, text } from "../json.ts";
import { immutable, invalid, required } from "./errors.ts";
import { each, fill, inSpec, member } from "./fill.ts";
import type { KindRules } from "./generic.ts";
import { labelFaults, portFaults } from "./names.ts";
import { faultsAt, oneOf, protocols, repeated } from "./pod-validation.ts";

const ipFault = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

export const endpointsRules: KindRules = {
  allowCreateOnUpdate: true,
  defaults: (object) =>
    member(object, "subsets", (holder) =>
      each(holder, "subsets", (subset) => each(subset, "ports", (port) => fill(port, { protocol: "TCP" }))),
    ),
  validate: (object) =>
    records(object["subsets"]).flatMap((subset, index) => {
      const field = `subsets[${index}]`;
      const addresses = ["addresses", "notReadyAddresses"].flatMap((key) =>
        records(subset[key]).map(
          (address, position) => [`${field}.${key}[${position}].ip`, text(address["ip"])] as const,
        ),
      );
      const ports = records(subset["ports"]);
      return [
        ...(addresses.length === 0
          ? [required(field, "must specify `addresses` or `notReadyAddresses`")]
          : []),
        ...addresses.flatMap(([where, ip]) => validateAddress(where, ip)),
        ...ports.flatMap((port, position) =>
          validatePort(port, `${field}.ports[${position}]`, ports.length > 1),
        ),
      ];
    }),
};

function validateAddress(field: string, ip: string): readonly FieldError[] {
  if (isIP(ip) === 0) return [invalid(field, ip, ipFault)];
  // Endpoints must not lead a node's own traffic back to itself.
  return /^127\.|^169\.254\.|^0\.0\.0\.0$|^::1?$/.test(ip)
    ? [
        invalid(
          field,
          ip,
          "may not be in the loopback range (127.0.0.0/8, ::1/128), the link-local range or unspecified",
        ),
      ]
    : [];
}

function validatePort(port: Json, field: string, nameNeeded: boolean): readonly FieldError[] {
  const name = text(port["name"]);
  return [
    ...(name === ""
      ? nameNeeded
        ? [required(`${field}.name`)]
        : []
      : faultsAt(`${field}.name`, name, labelFaults(name))),
    ...faultsAt(`${field}.port`, port["port"] ?? 0, portFaults(port["port"])),
    ...oneOf(`${field}.protocol`, port["protocol"], protocols),
  ];
}

export const endpointSliceRules: KindRules = {
  generation: true,
  generationOf: (object) => [object["endpoints"], object["ports"]],
  defaults: (object) =>
    member(object, "ports", (holder) =>
      each(holder, "ports", (port) => ({ name: "", ...fill(port, { protocol: "TCP" }) })),
    ),
  validate: (object) => {
    const family = object["addressType"];
    const known = ["FQDN", "IPv4", "IPv6"];
    if (family === undefined || family === "") return [required("addressType")];
    const version = family === "IPv4" ? 4 : family === "IPv6" ? 6 : undefined;
    const ports = records(object["ports"]);
    return [
      ...oneOf("addressType", family, known),
      ...records(object["endpoints"]).flatMap((endpoint, index) => {
        const addresses = list(endpoint["addresses"]).map(text);
        if (addresses.length === 0)
          return [required(`endpoints[${index}].addresses`, "must contain at least 1 address")];
        return addresses.flatMap((ip, position) =>
          version !== undefined && isIP(ip) !== version
            ? [
                invalid(
                  `endpoints[${index}].addresses[${position}]`,
                  ip,
                  version === 4 ? "must be a valid IPv4 address" : "must be a valid IPv6 address",
                ),
              ]
            : [],
        );
      }),
      ...ports.flatMap((port, index) => oneOf(`ports[${index}].protocol`, port["protocol"], protocols)),
      ...repeated(
        ports.map((port) => text(port["name"])),
        (index) => `ports[${index}].name`,
      ),
    ];
  },
  validateUpdate: (next, before) =>
    next["addressType"] === before["addressType"] ? [] : [immutable("addressType", next["addressType"])],
};

export const networkPolicyRules: KindRules = {
  generation: true,
  defaults: (object) =>
    inSpec(object, (spec) => {
      const withPorts = ["ingress", "egress"].reduce<Json>(
        (sum, key) =>
          each(sum, key, (rule) => each(rule, "ports", (port) => fill(port, { protocol: "TCP" }))),
        spec,
      );
      return fill(withPorts, {
        policyTypes: list(spec["egress"]).length > 0 ? ["Ingress", "Egress"] : ["Ingress"],
      });
    }),
};

export const ingressRules: KindRules = {
  generation: true,
  initialStatus: () => ({ loadBalancer: {} }),
  validate: (object) => {
    const spec = record(object["spec"]);
    return [
      ...(records(spec["rules"]).length === 0 && spec["defaultBackend"] === undefined
        ? [invalid("spec", [], "either `defaultBackend` or `rules` must be specified")]
        : []),
      ...records(spec["rules"]).flatMap((rule, index) =>
        records(record(rule["http"])["paths"]).flatMap((each, position) => {
          const field = `spec.rules[${index}].http.paths[${position}].pathType`;
          const type = each["pathType"];
          return type === undefined
            ? [required(field, "pathType must be specified")]
            : oneOf(field, type, ["Exact", "ImplementationSpecific", "Prefix"]);
        }),
      ),
    ];
  },
};

export const ingressClassRules: KindRules = {
  generation: true,
  validate: (object) =>
    text(record(object["spec"])["controller"]) === "" ? [required("spec.controller")] : [],
  validateUpdate: (next: StoredObject, before: StoredObject) => {
    const [controller, old] = [record(next["spec"])["controller"], record(before["spec"])["controller"]];
    return controller === old ? [] : [immutable("spec.controller", controller)];
  },
};
