import { isIP } from "node:net";
import { milliValue } from "#api/quantity.ts";
import type { FieldError } from "../../../model.ts";
import { isJson, type Json, list, record, records, text } from "../json.ts";
import { duplicate, forbidden, invalid, notFound, notSupported, required } from "./errors.ts";
import { validateLabels } from "./metadata.ts";
import {
  type Faults,
  environmentNameFaults,
  labelFaults,
  portFaults,
  portNameFaults,
  subdomainFaults,
} from "./names.ts";

export const protocols: readonly string[] = ["SCTP", "TCP", "UDP"];

/** One error for each fault. */
export const faultsAt = (field: string, value: unknown, faults: Faults): readonly FieldError[] =>
  faults.map((fault) => invalid(field, value, fault));

/** Unset values pass: defaulting or another rule answers for them. */
export function oneOf(field: string, value: unknown, words: readonly string[]): readonly FieldError[] {
  if (value === undefined || value === "") return [];
  return words.includes(text(value)) ? [] : [notSupported(field, value, words)];
}

export function notNegative(field: string, value: unknown): readonly FieldError[] {
  return typeof value === "number" && value < 0
    ? [invalid(field, value, "must be greater than or equal to 0")]
    : [];
}

/** Second and later occurrences. @param field of one element */
export function repeated(values: readonly string[], field: (index: number) => string): readonly FieldError[] {
  return values.flatMap((value, index) =>
    value !== "" && values.indexOf(value) < index ? [duplicate(field(index), value)] : [],
  );
}

/** @param field `spec`, or `spec.template.spec` */
export function validatePodSpec(spec: Json, field: string): readonly FieldError[] {
  const volumes = new Set(records(spec["volumes"]).map((volume) => text(volume["name"])));
  const containers = list(spec["containers"]);
  const inits = records(spec["initContainers"]);
  const names = [...inits, ...records(containers)].map((each) => text(each["name"]));
  return [
    ...validateVolumes(records(spec["volumes"]), `${field}.volumes`),
    ...(containers.length === 0 ? [required(`${field}.containers`)] : []),
    ...records(containers).flatMap((each, index) =>
      validateContainer(each, `${field}.containers[${index}]`, volumes, spec),
    ),
    ...inits.flatMap((each, index) =>
      validateContainer(each, `${field}.initContainers[${index}]`, volumes, spec),
    ),
    ...repeated(names, (index) =>
      index < inits.length
        ? `${field}.initContainers[${index}].name`
        : `${field}.containers[${index - inits.length}].name`,
    ),
    ...hostPortConflicts(records(containers), `${field}.containers`),
    ...oneOf(`${field}.restartPolicy`, spec["restartPolicy"], ["Always", "OnFailure", "Never"]),
    ...oneOf(`${field}.dnsPolicy`, spec["dnsPolicy"], [
      "ClusterFirst",
      "ClusterFirstWithHostNet",
      "Default",
      "None",
    ]),
    ...notNegative(`${field}.terminationGracePeriodSeconds`, spec["terminationGracePeriodSeconds"]),
    ...validateDeadline(spec["activeDeadlineSeconds"], `${field}.activeDeadlineSeconds`),
    ...validateLabels(spec["nodeSelector"], `${field}.nodeSelector`),
    ...optionalName(`${field}.hostname`, spec["hostname"], labelFaults),
    ...optionalName(`${field}.subdomain`, spec["subdomain"], labelFaults),
    ...optionalName(`${field}.serviceAccountName`, spec["serviceAccountName"], subdomainFaults),
    ...optionalName(`${field}.nodeName`, spec["nodeName"], subdomainFaults),
    ...optionalName(`${field}.priorityClassName`, spec["priorityClassName"], subdomainFaults),
    ...validateTolerations(records(spec["tolerations"]), `${field}.tolerations`),
    ...validateHostAliases(records(spec["hostAliases"]), `${field}.hostAliases`),
    ...(spec["dnsPolicy"] === "None" && list(record(spec["dnsConfig"])["nameservers"]).length === 0
      ? [
          required(
            `${field}.dnsConfig.nameservers`,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
          ),
        ]
      : []),
  ];
}

const optionalName = (
  field: string,
  value: unknown,
  rule: (name: string) => Faults,
): readonly FieldError[] =>
  value === undefined || value === "" ? [] : faultsAt(field, value, rule(text(value)));

function validateDeadline(value: unknown, field: string): readonly FieldError[] {
  return typeof value === "number" && (value < 1 || value > 2_147_483_647)
    ? [invalid(field, value, "must be between 1 and 2147483647, inclusive")]
    : [];
}

function validateContainer(
  container: Json,
  field: string,
  volumes: ReadonlySet<string>,
  spec: Json,
): readonly FieldError[] {
  const name = text(container["name"]);
  const image = text(container["image"]);
  const ports = records(container["ports"]);
  const mounts = records(container["volumeMounts"]);
  return [
    ...(name === "" ? [required(`${field}.name`)] : faultsAt(`${field}.name`, name, labelFaults(name))),
    ...(image === "" ? [required(`${field}.image`)] : []),
    ...(image !== image.trim()
      ? [invalid(`${field}.image`, image, "must not have leading or trailing whitespace")]
      : []),
    ...oneOf(`${field}.imagePullPolicy`, container["imagePullPolicy"], ["Always", "IfNotPresent", "Never"]),
    ...oneOf(`${field}.terminationMessagePolicy`, container["terminationMessagePolicy"], [
      "FallbackToLogsOnError",
      "File",
    ]),
    ...ports.flatMap((port, index) =>
      validatePort(port, `${field}.ports[${index}]`, spec["hostNetwork"] === true),
    ),
    ...repeated(
      ports.map((port) => text(port["name"])),
      (index) => `${field}.ports[${index}].name`,
    ),
    ...records(container["env"]).flatMap((variable, index) =>
      validateVariable(variable, `${field}.env[${index}]`),
    ),
    ...mounts.flatMap((mount, index) => validateMount(mount, `${field}.volumeMounts[${index}]`, volumes)),
    ...mounts.flatMap((mount, index) => {
      const path = text(mount["mountPath"]);
      const first = mounts.findIndex((each) => each["mountPath"] === path);
      return path !== "" && first < index
        ? [invalid(`${field}.volumeMounts[${index}].mountPath`, path, "must be unique")]
        : [];
    }),
    ...validateProbe(container["livenessProbe"], `${field}.livenessProbe`, true),
    ...validateProbe(container["readinessProbe"], `${field}.readinessProbe`, false),
    ...validateProbe(container["startupProbe"], `${field}.startupProbe`, true),
    ...["postStart", "preStop"].flatMap((hook) => {
      const handler = record(container["lifecycle"])[hook];
      return handler === undefined
        ? []
        : validateHandler(record(handler), `${field}.lifecycle.${hook}`, [
            "exec",
            "httpGet",
            "tcpSocket",
            "sleep",
          ]);
    }),
    ...validateResources(record(container["resources"]), `${field}.resources`),
  ];
}

function validatePort(port: Json, field: string, hostNetwork: boolean): readonly FieldError[] {
  const name = text(port["name"]);
  const number = port["containerPort"];
  const host = port["hostPort"];
  const hostSet = host !== undefined && host !== 0;
  return [
    ...(name === "" ? [] : faultsAt(`${field}.name`, name, portNameFaults(name))),
    ...(number === undefined || number === 0
      ? [required(`${field}.containerPort`)]
      : faultsAt(`${field}.containerPort`, number, portFaults(number))),
    ...(hostSet ? faultsAt(`${field}.hostPort`, host, portFaults(host)) : []),
    ...(hostSet && hostNetwork && host !== number
      ? [invalid(`${field}.hostPort`, host, "must match `containerPort` when `hostNetwork` is true")]
      : []),
    ...oneOf(`${field}.protocol`, port["protocol"], protocols),
  ];
}

function hostPortConflicts(containers: readonly Json[], field: string): readonly FieldError[] {
  const seen = new Set<string>();
  return containers.flatMap((container, index) =>
    records(container["ports"]).flatMap((port, portIndex) => {
      if (typeof port["hostPort"] !== "number" || port["hostPort"] === 0) return [];
      const key = `${text(port["protocol"]) || "TCP"}/${text(port["hostIP"])}/${port["hostPort"]}`;
      if (seen.has(key)) return [duplicate(`${field}[${index}].ports[${portIndex}].hostPort`, key)];
      seen.add(key);
      return [];
    }),
  );
}

function validateVariable(variable: Json, field: string): readonly FieldError[] {
  const name = text(variable["name"]);
  const source = variable["valueFrom"];
  return [
    ...(name === ""
      ? [required(`${field}.name`)]
      : faultsAt(`${field}.name`, name, environmentNameFaults(name))),
    ...(isJson(source) && text(variable["value"]) !== ""
      ? [invalid(`${field}.valueFrom`, "", "may not be specified when `value` is not empty")]
      : []),
    ...(isJson(source) ? oneSource(source, `${field}.valueFrom`) : []),
  ];
}

function oneSource(source: Json, field: string): readonly FieldError[] {
  const known = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
  const given = known.filter((key) => source[key] !== undefined);
  if (given.length === 0) {
    return [
      invalid(
        field,
        "",
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
      ),
    ];
  }
  return given.length > 1 ? [invalid(field, "", "may not have more than one field specified at a time")] : [];
}

function validateMount(mount: Json, field: string, volumes: ReadonlySet<string>): readonly FieldError[] {
  const name = text(mount["name"]);
  const subPath = text(mount["subPath"]);
  return [
    ...(name === ""
      ? [required(`${field}.name`)]
      : volumes.has(name)
        ? []
        : [notFound(`${field}.name`, name)]),
    ...(text(mount["mountPath"]) === "" ? [required(`${field}.mountPath`)] : []),
    ...(subPath.startsWith("/") ? [invalid(`${field}.subPath`, subPath, "must be a relative path")] : []),
    ...(subPath.split("/").includes("..")
      ? [invalid(`${field}.subPath`, subPath, "must not contain '..'")]
      : []),
  ];
}

function validateProbe(value: unknown, field: string, oneSuccess: boolean): readonly FieldError[] {
  if (!isJson(value)) return [];
  return [
    ...validateHandler(value, field, ["exec", "httpGet", "tcpSocket", "grpc"]),
    ...[
      "initialDelaySeconds",
      "timeoutSeconds",
      "periodSeconds",
      "successThreshold",
      "failureThreshold",
    ].flatMap((key) => notNegative(`${field}.${key}`, value[key])),
    ...(oneSuccess && typeof value["successThreshold"] === "number" && value["successThreshold"] !== 1
      ? [invalid(`${field}.successThreshold`, value["successThreshold"], "must be 1")]
      : []),
  ];
}

function validateHandler(handler: Json, field: string, kinds: readonly string[]): readonly FieldError[] {
  const given = kinds.filter((kind) => handler[kind] !== undefined);
  const [kind] = given;
  if (kind === undefined) return [required(field, "must specify a handler type")];
  const inner = record(handler[kind]);
  const here = `${field}.${kind}`;
  return [
    ...given
      .slice(1)
      .map((each) => forbidden(`${field}.${each}`, "may not specify more than 1 handler type")),
    ...(kind === "exec" && list(inner["command"]).length === 0 ? [required(`${here}.command`)] : []),
    ...(kind === "httpGet" || kind === "tcpSocket" ? validateHandlerPort(inner["port"], `${here}.port`) : []),
    ...(kind === "httpGet" ? oneOf(`${here}.scheme`, inner["scheme"], ["HTTP", "HTTPS"]) : []),
    ...(kind === "grpc" ? faultsAt(`${here}.port`, inner["port"], portFaults(inner["port"])) : []),
  ];
}

function validateHandlerPort(port: unknown, field: string): readonly FieldError[] {
  return typeof port === "string"
    ? faultsAt(field, port, portNameFaults(port))
    : faultsAt(field, port ?? 0, portFaults(port));
}

function validateResources(resources: Json, field: string): readonly FieldError[] {
  const limits = record(resources["limits"]);
  return Object.entries(record(resources["requests"])).flatMap(([name, value]) => {
    const limit = limits[name];
    const [asked, most] = [milli(value), milli(limit)];
    if (asked === undefined) return [];
    if (asked < 0)
      return [invalid(`${field}.requests[${name}]`, String(value), "must be greater than or equal to 0")];
    return most !== undefined && asked > most
      ? [
          invalid(
            `${field}.requests`,
            String(value),
            `must be less than or equal to ${name} limit of ${String(limit)}`,
          ),
        ]
      : [];
  });
}

function milli(quantity: unknown): number | undefined {
  if (typeof quantity !== "string" && typeof quantity !== "number") return undefined;
  try {
    return milliValue(quantity);
  } catch {
    return undefined; // the typed reader has refused it already
  }
}

function validateVolumes(volumes: readonly Json[], field: string): readonly FieldError[] {
  return [
    ...volumes.flatMap((volume, index) => {
      const name = text(volume["name"]);
      const sources = Object.keys(volume).filter((key) => key !== "name" && volume[key] !== undefined);
      const here = `${field}[${index}]`;
      return [
        ...(name === "" ? [required(`${here}.name`)] : faultsAt(`${here}.name`, name, labelFaults(name))),
        ...(sources.length === 0 ? [required(here, "must specify a volume type")] : []),
        ...sources
          .slice(1)
          .map((source) => forbidden(`${here}.${source}`, "may not specify more than 1 volume type")),
        ...validateSource(volume, here),
      ];
    }),
    ...repeated(
      volumes.map((volume) => text(volume["name"])),
      (index) => `${field}[${index}].name`,
    ),
  ];
}

/** The one thing that each common source cannot do without. */
const sourceNeeds: readonly (readonly [source: string, key: string])[] = [
  ["hostPath", "path"],
  ["configMap", "name"],
  ["secret", "secretName"],
  ["persistentVolumeClaim", "claimName"],
  ["csi", "driver"],
];

function validateSource(volume: Json, field: string): readonly FieldError[] {
  return sourceNeeds.flatMap(([source, key]) =>
    isJson(volume[source]) && text(record(volume[source])[key]) === ""
      ? [required(`${field}.${source}.${key}`)]
      : [],
  );
}

function validateTolerations(tolerations: readonly Json[], field: string): readonly FieldError[] {
  return tolerations.flatMap((toleration, index) => {
    const here = `${field}[${index}]`;
    const operator = text(toleration["operator"]) || "Equal";
    return [
      ...oneOf(`${here}.operator`, toleration["operator"], ["Equal", "Exists", "Gt", "Lt"]),
      ...oneOf(`${here}.effect`, toleration["effect"], ["NoExecute", "NoSchedule", "PreferNoSchedule"]),
      ...(text(toleration["key"]) === "" && operator !== "Exists"
        ? [
            invalid(
              `${here}.operator`,
              operator,
              'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            ),
          ]
        : []),
      ...(operator === "Exists" && text(toleration["value"]) !== ""
        ? [
            invalid(
              `${here}.operator`,
              toleration["value"],
              "value must be empty when `operator` is 'Exists'",
            ),
          ]
        : []),
      ...(toleration["tolerationSeconds"] !== undefined && toleration["effect"] !== "NoExecute"
        ? [
            invalid(
              `${here}.effect`,
              toleration["effect"] ?? "",
              "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ),
          ]
        : []),
    ];
  });
}

function validateHostAliases(aliases: readonly Json[], field: string): readonly FieldError[] {
  return aliases.flatMap((alias, index) => [
    ...(isIP(text(alias["ip"])) === 0
      ? [
          invalid(
            `${field}[${index}].ip`,
            text(alias["ip"]),
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
          ),
        ]
      : []),
    ...list(alias["hostnames"]).flatMap((name) =>
      faultsAt(`${field}[${index}].hostnames`, name, subdomainFaults(text(name))),
    ),
  ]);
}
