import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { parse } from "yaml";
import type { Clock } from "#lib/clock.ts";
import { duration } from "#lib/flags.ts";
import { errorText, type Log } from "#lib/log.ts";
import { Turnstile } from "#lib/turnstile.ts";
import { type CredentialProvider, credentialProviders } from "../plan/credential-provider-config.ts";
import { matchesImage } from "../plan/image-glob.ts";
import { registryOf } from "../plan/image-name.ts";
import type { SourcedAuth, SourceMark } from "../plan/pull-records.ts";
import type { ImageAuth } from "../runtime/runtime.ts";
import { accountMark, type PodAccount } from "./pod-account.ts";

const runMs = 60_000;
const maxOutputBytes = 1024 * 1024;
const maxCached = 256;
const maxRunning = 8;

interface Answer {
  readonly auth: ReadonlyMap<string, ImageAuth>;
  readonly cacheKeyType: string;
  readonly cacheMs: number;
}

interface Identity {
  readonly mark: SourceMark;
  readonly annotations: Readonly<Record<string, string>>;
  readonly token: string;
}

interface Question {
  readonly provider: CredentialProvider;
  readonly image: string;
  readonly identity: Identity | undefined;
}

/** What plugins stand on. */
export interface PluginPorts {
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Credentials from programs on the node, by the kubelet's protocol (KEP-2133): the request goes in on standard input,
 * the answer comes out on standard output, and is remembered for as long as it says.
 */
export class CredentialPlugins {
  readonly #providers: readonly CredentialProvider[];
  readonly #folder: string;
  readonly #ports: PluginPorts;
  readonly #cache = new Map<string, { readonly auth: Answer["auth"]; readonly untilMs: number }>();

  /** Pods that want one image at the same time share one answer. */
  readonly #running = new Map<string, Promise<Answer["auth"]>>();
  readonly #turnstile = new Turnstile(maxRunning);

  private constructor(providers: readonly CredentialProvider[], folder: string, ports: PluginPorts) {
    this.#providers = providers;
    this.#folder = folder;
    this.#ports = ports;
  }

  /** @param file "" for no providers. @throws Error when the file is none. */
  static async open(file: string, folder: string, ports: PluginPorts): Promise<CredentialPlugins> {
    if (file === "") return new CredentialPlugins([], folder, ports);
    try {
      const value: unknown = parse(await readFile(file, "utf8"));
      return new CredentialPlugins(credentialProviders(value), folder, ports);
    } catch (cause) {
      throw new Error(`cannot use "${file}" of --image-credential-provider-config: ${errorText(cause)}`, {
        cause,
      });
    }
  }

  /**
   * What the providers of this image answer, the longest pattern first. One that fails is logged and passed over.
   * @param account the Pod's service account; undefined for a Pod without one, such as a static Pod.
   * @param signal the same for all who ask, as they share what runs.
   */
  async credentials(
    image: string,
    account: PodAccount | undefined,
    signal: AbortSignal,
  ): Promise<readonly SourcedAuth[]> {
    const registry = registryOf(image);
    const full = image.startsWith(`${registry}/`) ? image : `${registry}/${image}`;
    const found: SourcedAuth[] = [];
    for (const provider of this.#providers) {
      if (!provider.matchImages.some((pattern) => matchesImage(pattern, full))) continue;
      try {
        const identity = await identityFor(provider, account, signal);
        if (identity === "not asked") continue;
        const question = { provider, image: full, identity };
        const auth = this.#cached(question) ?? (await this.#shared(question, signal));
        const matching = [...auth].filter(([pattern]) => matchesImage(pattern, full));
        found.push(
          ...matching
            .toSorted(([a], [b]) => (a < b ? 1 : -1))
            .map(([, one]) => ({ auth: one, ...(identity && { account: identity.mark }) })),
        );
      } catch (cause) {
        signal.throwIfAborted();
        const data = { provider: provider.name, image, cause: errorText(cause) };
        this.#ports.log.warn("a credential provider failed", data);
      }
    }
    return found;
  }

  #cached(question: Question): Answer["auth"] | undefined {
    const now = this.#ports.clock.monotonicMs();
    for (const type of ["Image", "Registry", "Global"]) {
      const known = this.#cache.get(cacheKey(question, type));
      if (known !== undefined && known.untilMs > now) return known.auth;
    }
    return undefined;
  }

  #shared(question: Question, signal: AbortSignal): Promise<Answer["auth"]> {
    const key = cacheKey(question, "Image");
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const begun = this.#turnstile
      .pass(() => this.#ask(question, signal), signal)
      .finally(() => this.#running.delete(key));
    this.#running.set(key, begun);
    return begun;
  }

  async #ask(question: Question, signal: AbortSignal): Promise<Answer["auth"]> {
    const { provider, image, identity } = question;
    const request = {
      apiVersion: provider.apiVersion,
      kind: "CredentialProviderRequest",
      image,
      ...(identity && {
        serviceAccountToken: identity.token,
        serviceAccountAnnotations: identity.annotations,
      }),
    };
    const program = path.join(this.#folder, provider.name);
    const output = await run(program, provider, JSON.stringify(request), signal);
    const { auth, cacheKeyType, cacheMs } = readAnswer(output, provider);
    if (cacheMs > 0) {
      const oldest = this.#cache.keys().next();
      if (this.#cache.size >= maxCached && oldest.done !== true) this.#cache.delete(oldest.value);
      const untilMs = this.#ports.clock.monotonicMs() + cacheMs;
      this.#cache.set(cacheKey(question, cacheKeyType), { auth, untilMs });
    }
    return auth;
  }
}

/** Answers for one account are never another's; the token itself is in no key. */
function cacheKey({ provider, image, identity }: Question, type: string): string {
  const what = type === "Image" ? image : type === "Registry" ? registryOf(image) : "";
  const who =
    identity === undefined
      ? []
      : [
          identity.mark,
          Object.entries(identity.annotations).toSorted(([a], [b]) => (a < b ? -1 : 1)),
          provider.token?.cacheType === "Token"
            ? createHash("sha256").update(identity.token).digest("hex")
            : "",
        ];
  return JSON.stringify([provider.name, type, what, who]);
}

/**
 * What a provider is told of the Pod's account; undefined when it is told nothing, "not asked" when this Pod has not
 * what the provider wants.
 * @throws the API's answer.
 */
async function identityFor(
  { token }: CredentialProvider,
  account: PodAccount | undefined,
  signal: AbortSignal,
): Promise<Identity | undefined | "not asked"> {
  if (token === undefined) return undefined;
  if (account === undefined) return token.requireAccount ? "not asked" : undefined;
  const { metadata } = await account.read(signal);
  const all = metadata?.annotations ?? {};
  if (token.requiredAnnotations.some((key) => all[key] === undefined)) return "not asked";
  const wanted = [...token.requiredAnnotations, ...token.optionalAnnotations];
  return {
    mark: accountMark(metadata),
    annotations: Object.fromEntries(
      wanted.flatMap((key) => (all[key] === undefined ? [] : [[key, all[key]]])),
    ),
    token: await account.token(token.audience, signal),
  };
}

/** Its standard error is for people and goes into the message of a failure, cut short. */
function run(
  program: string,
  { args, env }: CredentialProvider,
  input: string,
  signal: AbortSignal,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = {
      env: { ...process.env, ...env },
      timeout: runMs,
      maxBuffer: maxOutputBytes,
      killSignal: "SIGKILL",
      signal,
    } as const;
    const child = execFile(program, [...args], options, (cause, stdout, stderr) => {
      if (cause === null) resolve(stdout);
      else
        reject(new Error(`${cause.message.split("\n", 1)[0]}: ${stderr.slice(0, 1_000).trim()}`, { cause }));
    });
    child.stdin?.on("error", () => undefined); // it may end without reading
    child.stdin?.end(input);
  });
}

function readAnswer(output: string, provider: CredentialProvider): Answer {
  const value = parseJson(output);
  const answer = isRecord(value) ? value : {};
  if (answer["kind"] !== "CredentialProviderResponse" || answer["apiVersion"] !== provider.apiVersion)
    throw new Error(`it did not answer with a CredentialProviderResponse of ${provider.apiVersion}`);
  const { cacheKeyType, cacheDuration, auth } = answer;
  if (cacheKeyType !== "Image" && cacheKeyType !== "Registry" && cacheKeyType !== "Global")
    throw new Error("its cacheKeyType must be Image, Registry or Global");
  return {
    cacheKeyType,
    cacheMs: typeof cacheDuration === "string" ? duration(cacheDuration) : provider.defaultCacheMs,
    auth: new Map(
      Object.entries(isRecord(auth) ? auth : {}).flatMap(([pattern, one]) => {
        if (!isRecord(one)) return [];
        const { username, password } = one;
        return typeof username === "string" && typeof password === "string"
          ? [[pattern, { username, password }] as const]
          : [];
      }),
    ),
  };
}

/** The parser's own words quote what it read: it may be a credential, and goes into no log. */
function parseJson(output: string): unknown {
  try {
    return JSON.parse(output);
  } catch {
    throw new Error("its answer is not JSON");
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
