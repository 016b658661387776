import { duration } from "#lib/flags.ts";

/** A program that knows credentials: one entry of `CredentialProviderConfig`. */
export interface CredentialProvider {
  /** Of the program in the folder of providers; no path. */
  readonly name: string;
  readonly apiVersion: string;
  readonly matchImages: readonly string[];
  readonly defaultCacheMs: number;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** undefined for a provider that answers for the node as a whole. */
  readonly token: TokenAttributes | undefined;
}

/** How a provider is told of the Pod's service account. @see KEP-4412 */
export interface TokenAttributes {
  readonly audience: string;
  /** `Token`: an answer is remembered for one token only; `ServiceAccount`: for all of its account's Pods. */
  readonly cacheType: "ServiceAccount" | "Token";
  /** A Pod without an account does not ask this provider. */
  readonly requireAccount: boolean;
  /** Annotations of the account that go into the request; an account without one of these does not ask. */
  readonly requiredAnnotations: readonly string[];
  readonly optionalAnnotations: readonly string[];
}

const configVersions = ["v1", "v1beta1", "v1alpha1"].map((version) => `kubelet.config.k8s.io/${version}`);
const pluginVersions = ["v1", "v1beta1", "v1alpha1"].map(
  (version) => `credentialprovider.kubelet.k8s.io/${version}`,
);

/**
 * The providers of a configuration file, in its order.
 * @param value the file's content, parsed as YAML or JSON.
 * @throws Error that names what is wrong: a node that would pull without its credentials had better not start.
 */
export function credentialProviders(value: unknown): readonly CredentialProvider[] {
  const config = record(value, "the file");
  if (config["kind"] !== "CredentialProviderConfig" || !configVersions.includes(text(config, "apiVersion")))
    throw new Error(`it must be a CredentialProviderConfig of ${configVersions[0]}`);
  const providers = list(config, "providers").map((entry) => provider(record(entry, "a provider")));
  if (providers.length === 0) throw new Error("it names no providers");
  const twice = providers.find((one, place) => providers.findIndex(({ name }) => name === one.name) < place);
  if (twice !== undefined) throw new Error(`it names provider "${twice.name}" twice`);
  return providers;
}

function provider(entry: Readonly<Record<string, unknown>>): CredentialProvider {
  const name = text(entry, "name");
  if (name === "" || name === "." || name === ".." || /[\s/]/.test(name))
    throw new Error(`"${name}" is no name of a provider`);
  const apiVersion = text(entry, "apiVersion");
  if (!pluginVersions.includes(apiVersion))
    throw new Error(`provider "${name}" has an unknown apiVersion "${apiVersion}"`);
  const matchImages = list(entry, "matchImages").map(String);
  if (matchImages.length === 0) throw new Error(`provider "${name}" has no matchImages`);
  const cache = text(entry, "defaultCacheDuration");
  if (cache === "") throw new Error(`provider "${name}" has no defaultCacheDuration`);
  const env = list(entry, "env").map((one) => record(one, "a variable"));
  return {
    name,
    apiVersion,
    matchImages,
    defaultCacheMs: duration(cache),
    args: list(entry, "args").map(String),
    env: Object.fromEntries(env.map((one) => [text(one, "name"), text(one, "value")])),
    token: entry["tokenAttributes"] === undefined ? undefined : tokenAttributes(entry, name, apiVersion),
  };
}

function tokenAttributes(
  entry: Readonly<Record<string, unknown>>,
  name: string,
  apiVersion: string,
): TokenAttributes {
  const wrong = (what: string): Error => new Error(`tokenAttributes of provider "${name}": ${what}`);
  if (apiVersion !== pluginVersions[0]) throw wrong(`the provider's apiVersion must be ${pluginVersions[0]}`);
  const attributes = record(entry["tokenAttributes"], `tokenAttributes of provider "${name}"`);
  const audience = text(attributes, "serviceAccountTokenAudience");
  if (audience === "") throw wrong("serviceAccountTokenAudience is required");
  const cacheType = text(attributes, "cacheType");
  if (cacheType !== "ServiceAccount" && cacheType !== "Token")
    throw wrong(`cacheType must be ServiceAccount or Token, not "${cacheType}"`);
  const requireAccount = attributes["requireServiceAccount"];
  if (typeof requireAccount !== "boolean") throw wrong("requireServiceAccount must be true or false");
  const requiredAnnotations = list(attributes, "requiredServiceAccountAnnotationKeys").map(String);
  const optionalAnnotations = list(attributes, "optionalServiceAccountAnnotationKeys").map(String);
  if (requiredAnnotations.length > 0 && !requireAccount)
    throw wrong("requiredServiceAccountAnnotationKeys need requireServiceAccount to be true");
  const keys = [...requiredAnnotations, ...optionalAnnotations];
  const twice = keys.find((key, place) => keys.indexOf(key) < place);
  if (twice !== undefined) throw wrong(`it names the annotation "${twice}" twice`);
  return { audience, cacheType, requireAccount, requiredAnnotations, optionalAnnotations };
}

function record(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`${what} must be an object`);
  return Object.fromEntries(Object.entries(value));
}

function text(entry: Readonly<Record<string, unknown>>, field: string): string {
  const value = entry[field] ?? "";
  if (typeof value !== "string") throw new Error(`"${field}" must be a text`);
  return value;
}

function list(entry: Readonly<Record<string, unknown>>, field: string): readonly unknown[] {
  const value = entry[field] ?? [];
  if (!Array.isArray(value)) throw new Error(`"${field}" must be a list`);
  return value;
}
