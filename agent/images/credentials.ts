import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Secret } from "#api/generated/kubernetes.ts";
import { registryOf } from "../plan/image-name.ts";
import type { SourcedAuth } from "../plan/pull-records.ts";
import type { ImageAuth } from "../runtime/runtime.ts";

/** Credentials for an image from pull secrets; of one Secret the most specific first. */
export function secretCredentials(image: string, secrets: readonly Secret[]): readonly SourcedAuth[] {
  return secrets.flatMap(({ metadata: { uid = "", namespace = "", name = "" } = {}, data }) => {
    const modern = data?.[".dockerconfigjson"];
    const legacy = data?.[".dockercfg"];
    const auths =
      modern !== undefined
        ? authsOf(decode(modern), "auths")
        : legacy !== undefined
          ? authsOf(decode(legacy), undefined)
          : new Map<string, ImageAuth>();
    return matching(image, auths).map((auth) => ({ auth, secret: { uid, namespace, name } }));
  });
}

/** Credentials for an image from the node's own files, for all of its Pods. */
export async function nodeCredentials(image: string, rootDir: string): Promise<readonly SourcedAuth[]> {
  const found: SourcedAuth[] = [];
  for (const file of [path.join(rootDir, "config.json"), "/root/.docker/config.json"]) {
    const text = await readFile(file, "utf8").catch(() => undefined);
    if (text !== undefined) found.push(...matching(image, authsOf(text, "auths")).map((auth) => ({ auth })));
  }
  return found;
}

/** Registry -> credentials, as a Docker configuration file has them. Nothing for a file that is not one. */
function authsOf(text: string, field: string | undefined): ReadonlyMap<string, ImageAuth> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return new Map();
  }
  const table: unknown = field === undefined ? parsed : isRecord(parsed) ? parsed[field] : undefined;
  if (!isRecord(table)) return new Map();
  return new Map(
    Object.entries(table).flatMap(([registry, entry]) =>
      isRecord(entry) ? [[registry, authOf(entry)] as const] : [],
    ),
  );
}

function authOf(entry: Readonly<Record<string, unknown>>): ImageAuth {
  const text = (name: string): string | undefined => {
    const value = entry[name];
    return typeof value === "string" && value !== "" ? value : undefined;
  };
  const pair = text("auth");
  const decoded = pair === undefined ? undefined : decode(pair);
  const colon = decoded?.indexOf(":") ?? -1;
  const username =
    text("username") ?? (decoded === undefined || colon < 0 ? undefined : decoded.slice(0, colon));
  const password =
    text("password") ?? (decoded === undefined || colon < 0 ? undefined : decoded.slice(colon + 1));
  const identityToken = text("identitytoken");
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(identityToken === undefined ? {} : { identityToken }),
  };
}

function matching(image: string, auths: ReadonlyMap<string, ImageAuth>): readonly ImageAuth[] {
  const registry = registryOf(image);
  const full = registry === "docker.io" && !image.startsWith("docker.io/") ? `docker.io/${image}` : image;
  return [...auths]
    .map(([key, auth]) => ({ place: placeOf(key), auth }))
    .filter(
      ({ place }) =>
        full === place ||
        full.startsWith(`${place}/`) ||
        (place === "index.docker.io" && registry === "docker.io") ||
        registry === place,
    )
    .toSorted((a, b) => b.place.length - a.place.length)
    .map(({ place, auth }) => ({ ...auth, serverAddress: place }));
}

function placeOf(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/(v1|v2)?\/?$/, "");
}

function decode(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
