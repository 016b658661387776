import { readFileSync } from "node:fs";
import path from "node:path";
import { parse } from "yaml";
import type { Endpoint } from "./http-transport.ts";

/**
 * Reads a kubeconfig file: the current context's server, certificate authority and credentials.
 * Relative paths in it are relative to the file. Exec plugins and auth providers are refused by name.
 * @throws Error that names the file and the field.
 */
export function loadKubeconfig(file: string): Endpoint {
  let source: string;
  try {
    source = readFileSync(file, "utf8");
  } catch (cause) {
    throw new Error(`cannot read the kubeconfig "${file}"; check --kubeconfig`, { cause });
  }
  try {
    return parseKubeconfig(source, path.dirname(file), (name) => readFileSync(name, "utf8"));
  } catch (cause) {
    throw new Error(`cannot use the kubeconfig "${file}"`, { cause });
  }
}

/** @param read gives the text of a file that the kubeconfig names. */
export function parseKubeconfig(source: string, folder: string, read: (file: string) => string): Endpoint {
  const config = asRecord(parse(source), "the file");
  const context = named(config, "contexts", "context", textOf(config, "current-context", "the file"));
  const cluster = named(config, "clusters", "cluster", textOf(context, "cluster", "context"));
  const user =
    context["user"] === undefined ? {} : named(config, "users", "user", textOf(context, "user", "context"));
  for (const unsupported of ["exec", "auth-provider"]) {
    if (user[unsupported] !== undefined) {
      throw new Error(`user.${unsupported} is not supported here; use a client certificate or a token`);
    }
  }
  const pem = (from: Readonly<Record<string, unknown>>, name: string): string | undefined => {
    const data = from[`${name}-data`];
    if (typeof data === "string") return Buffer.from(data, "base64").toString("utf8");
    const file = from[name];
    return typeof file === "string" ? read(path.resolve(folder, file)) : undefined;
  };
  return {
    server: textOf(cluster, "server", "cluster"),
    ...optional("ca", pem(cluster, "certificate-authority")),
    ...(cluster["insecure-skip-tls-verify"] === true ? { insecureSkipTlsVerify: true } : {}),
    ...optional(
      "serverName",
      typeof cluster["tls-server-name"] === "string" ? cluster["tls-server-name"] : undefined,
    ),
    ...optional("clientCertificate", pem(user, "client-certificate")),
    ...optional("clientKey", pem(user, "client-key")),
    ...optional("token", tokenOf(user, folder, read)),
    ...(typeof user["username"] === "string" && typeof user["password"] === "string"
      ? { basic: { username: user["username"], password: user["password"] } }
      : {}),
  };
}

function tokenOf(
  user: Readonly<Record<string, unknown>>,
  folder: string,
  read: (file: string) => string,
): (() => string) | undefined {
  const file = user["tokenFile"];
  if (typeof file === "string") return () => read(path.resolve(folder, file)).trim();
  const token = user["token"];
  return typeof token === "string" ? () => token : undefined;
}

function named(
  config: Readonly<Record<string, unknown>>,
  list: string,
  field: string,
  name: string,
): Readonly<Record<string, unknown>> {
  const entries = Array.isArray(config[list]) ? config[list] : [];
  const entry = entries.map((item) => asRecord(item, list)).find((item) => item["name"] === name);
  if (entry === undefined) throw new Error(`${list} has no entry named "${name}"`);
  return asRecord(entry[field], `${list}[${name}].${field}`);
}

function asRecord(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  throw new Error(`${what} is not a mapping`);
}

function textOf(from: Readonly<Record<string, unknown>>, name: string, what: string): string {
  const value = from[name];
  if (typeof value === "string" && value !== "") return value;
  throw new Error(`${what} has no "${name}"`);
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]?: V });
}
