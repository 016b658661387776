import type { ResourceDefinition } from "../../../model.ts";

const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const label1035 = "[a-z]([-a-z0-9]*[a-z0-9])?";
const subdomain = `${label}(\\.${label})*`;
const qualified = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const labelValue = `(${qualified})?`;
const portName = "[a-z0-9]([a-z0-9-]*[a-z0-9])*";
const configKey = "[-._a-zA-Z0-9]+";
const environmentName = "[-._a-zA-Z][-._a-zA-Z0-9]*";

const labelText =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const label1035Text =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const subdomainText =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const qualifiedText =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const labelValueText =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/** What is wrong with a text, in Kubernetes' words; empty when nothing is. */
export type Faults = readonly string[];

const whole = (pattern: string): RegExp => new RegExp(`^(?:${pattern})$`);
const tooLong = (max: number): string => `must be no more than ${max} characters`;
const regex = (text: string, pattern: string, ...examples: readonly string[]): string =>
  `${text} (e.g. ${examples.map((each) => `'${each}'`).join(",  or ")}, regex used for validation is '${pattern}')`;

function faults(value: string, max: number, pattern: string, message: string): Faults {
  return [...(value.length > max ? [tooLong(max)] : []), ...(whole(pattern).test(value) ? [] : [message])];
}

/** RFC 1123 label: namespaces, containers, volumes. */
export const labelFaults = (value: string): Faults =>
  faults(value, 63, label, regex(labelText, label, "my-name", "123-abc"));

/** RFC 1035 label: services. */
export const label1035Faults = (value: string): Faults =>
  faults(value, 63, label1035, regex(label1035Text, label1035, "my-name", "abc-123"));

/** RFC 1123 subdomain: most names. */
export const subdomainFaults = (value: string): Faults =>
  faults(value, 253, subdomain, regex(subdomainText, subdomain, "example.com"));

/** Anything that can stand as one segment of a URL path: RBAC names. */
export function pathSegmentFaults(value: string): Faults {
  if (value === "." || value === "..") return [`may not be '${value}'`];
  return ["/", "%"].filter((each) => value.includes(each)).map((each) => `may not contain '${each}'`);
}

/** The faults of an object's name under its kind's rule. */
export function nameFaults(rule: ResourceDefinition["nameRule"], value: string): Faults {
  switch (rule) {
    case "label":
      return labelFaults(value);
    case "service":
      return label1035Faults(value);
    case "subdomain":
      return subdomainFaults(value);
    case "path-segment":
      return pathSegmentFaults(value);
    default:
      return rule satisfies never;
  }
}

/** Keys of labels and annotations, finalizers: `[prefix/]name`. */
export function labelKeyFaults(key: string): Faults {
  const parts = key.split("/");
  const named = regex(qualifiedText, qualified, "MyName", "my.name", "123-abc");
  if (parts.length > 2) {
    return [
      `a qualified name ${named} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  const name = parts.at(-1) ?? "";
  const prefix = parts.length === 2 ? (parts[0] ?? "") : undefined;
  const found: string[] = [];
  if (prefix === "") found.push("prefix part must be non-empty");
  else if (prefix !== undefined)
    found.push(...subdomainFaults(prefix).map((fault) => `prefix part ${fault}`));
  if (name === "") found.push("name part must be non-empty");
  else if (name.length > 63) found.push(`name part ${tooLong(63)}`);
  if (!whole(qualified).test(name)) found.push(`name part ${named}`);
  return found;
}

export const labelValueFaults = (value: string): Faults =>
  faults(value, 63, labelValue, regex(labelValueText, labelValue, "MyValue", "my_value", "12345"));

/** Keys of ConfigMaps and Secrets. */
export function configKeyFaults(key: string): Faults {
  const message = regex(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    configKey,
    "key.name",
    "KEY_NAME",
    "key-name",
  );
  const found = [...faults(key, 253, configKey, message)];
  if (key === "." || key === "..") found.push(`must not be '${key}'`);
  else if (key.startsWith("..")) found.push("must not start with '..'");
  return found;
}

/** Names of environment variables: any printable text without "=". */
export function environmentNameFaults(name: string): Faults {
  if (/^[\x20-\x3c\x3e-\x7e]+$/.test(name)) return [];
  return [
    regex(
      "a valid environment variable name must consist only of printable ASCII characters other than '='",
      environmentName,
      "my.env-name",
      "MY_ENV.NAME",
      "MyEnvName1",
    ),
  ];
}

/** Names of container ports (IANA service names). */
export function portNameFaults(name: string): Faults {
  const found: string[] = [];
  if (name.length > 15) found.push("must be no more than 15 characters");
  if (!/^[-a-z0-9]+$/.test(name))
    found.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  if (!/[a-z]/.test(name)) found.push("must contain at least one letter (a-z)");
  if (name.includes("--")) found.push("must not contain consecutive hyphens");
  if (/^-|-$/.test(name)) found.push("must not begin or end with a hyphen");
  return found.length === 0 && !whole(portName).test(name)
    ? ["must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"]
    : found;
}

export const portFaults = (port: unknown): Faults =>
  typeof port === "number" && Number.isInteger(port) && port >= 1 && port <= 65_535
    ? []
    : ["must be between 1 and 65535, inclusive"];

export const isDnsLabel = (value: string): boolean => labelFaults(value).length === 0;
export const isDnsSubdomain = (value: string): boolean => subdomainFaults(value).length === 0;
