import type { ConfigMap, Container, Pod, Secret, Service } from "#api/generated/kubernetes.ts";
import { type DownwardFacts, podField, resourceField } from "./downward.ts";
import { expand } from "./expand.ts";
import { serviceEnv } from "./service-env.ts";

/** Objects a container's variables are read from. `undefined`: it does not exist. */
export interface EnvSources {
  configMap(name: string): ConfigMap | undefined;
  secret(name: string): Secret | undefined;
  /** The variables of a file in a volume; undefined when there is no such file. @throws Error that says what is wrong. */
  file(volumeName: string, path: string): ReadonlyMap<string, string> | undefined;
  readonly services: readonly Service[];
  readonly facts: DownwardFacts;
}

/** The variables could not be made: the container waits with CreateContainerConfigError. */
export class EnvError extends Error {
  override readonly name = "EnvError";
}

/**
 * The environment of a container: Services, then `envFrom`, then `env`; later ones win.
 * @throws {EnvError} for a missing object or key that is not optional.
 */
export function environment(
  pod: Pod,
  container: Container,
  sources: EnvSources,
): readonly { readonly name: string; readonly value: string }[] {
  const namespace = pod.metadata?.namespace ?? "";
  const links = serviceEnv(sources.services, namespace, pod.spec?.enableServiceLinks ?? true);
  const env = new Map<string, string>(fromSources(container, namespace, sources));
  const lookup = (name: string): string | undefined => env.get(name) ?? links[name];
  for (const variable of container.env ?? []) {
    if (variable.valueFrom === undefined) {
      env.set(variable.name, expand(variable.value ?? "", lookup));
      continue;
    }
    const value = valueFrom(pod, container, variable.valueFrom, sources);
    if (value !== undefined) env.set(variable.name, value);
  }
  for (const [name, value] of Object.entries(links)) if (!env.has(name)) env.set(name, value);
  return [...env].map(([name, value]) => ({ name, value }));
}

function fromSources(container: Container, namespace: string, sources: EnvSources): Map<string, string> {
  const env = new Map<string, string>();
  for (const source of container.envFrom ?? []) {
    const prefix = source.prefix ?? "";
    if (source.configMapRef !== undefined) {
      const { name = "", optional } = source.configMapRef;
      const object = sources.configMap(name);
      if (object === undefined && optional !== true) throw new EnvError(`configmap "${name}" not found`);
      for (const [key, value] of Object.entries(object?.data ?? {})) env.set(prefix + key, value);
    }
    if (source.secretRef !== undefined) {
      const { name = "", optional } = source.secretRef;
      const object = sources.secret(name);
      if (object === undefined && optional !== true) throw new EnvError(`secret "${name}" not found`);
      for (const [key, value] of Object.entries(object?.data ?? {})) env.set(prefix + key, decode(value));
    }
  }
  void namespace;
  return env;
}

function valueFrom(
  pod: Pod,
  container: Container,
  from: NonNullable<NonNullable<Container["env"]>[number]["valueFrom"]>,
  sources: EnvSources,
): string | undefined {
  const namespace = pod.metadata?.namespace ?? "";
  if (from.fieldRef !== undefined) {
    try {
      return podField(pod, from.fieldRef.fieldPath, sources.facts);
    } catch (cause) {
      throw new EnvError(messageOf(cause), { cause });
    }
  }
  if (from.resourceFieldRef !== undefined) {
    try {
      return resourceField(pod, from.resourceFieldRef, container.name, sources.facts);
    } catch (cause) {
      throw new EnvError(messageOf(cause), { cause });
    }
  }
  if (from.configMapKeyRef !== undefined) {
    const { name = "", key, optional } = from.configMapKeyRef;
    const object = sources.configMap(name);
    const value = object?.data?.[key];
    if (value !== undefined || optional === true) return value;
    throw new EnvError(
      object === undefined
        ? `configmap "${name}" not found`
        : `couldn't find key ${key} in ConfigMap ${namespace}/${name}`,
    );
  }
  if (from.secretKeyRef !== undefined) {
    const { name = "", key, optional } = from.secretKeyRef;
    const object = sources.secret(name);
    const value = object?.data?.[key];
    if (value !== undefined) return decode(value);
    if (optional === true) return undefined;
    throw new EnvError(
      object === undefined
        ? `secret "${name}" not found`
        : `couldn't find key ${key} in Secret ${namespace}/${name}`,
    );
  }
  if (from.fileKeyRef !== undefined) {
    const { volumeName, path, key, optional } = from.fileKeyRef;
    let file: ReadonlyMap<string, string> | undefined;
    try {
      file = sources.file(volumeName, path);
    } catch (cause) {
      throw new EnvError(`couldn't parse env file: ${messageOf(cause)}`, { cause });
    }
    const value = file?.get(key);
    if (value !== undefined || optional === true) return value;
    throw new EnvError(
      file === undefined
        ? `couldn't parse env file: failed to open environment variable file "${path}" of volume "${volumeName}": no such file`
        : `environment variable key "${key}" not found in file "${path}"`,
    );
  }
  return undefined;
}

function decode(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
