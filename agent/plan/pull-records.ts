import { createHash } from "node:crypto";
import type { ImageAuth } from "../runtime/runtime.ts";
import { registryOf } from "./image-name.ts";

/** Who has to show credentials for an image that is on the node already. */
export type VerificationPolicy =
  | "NeverVerify"
  | "NeverVerifyPreloadedImages"
  | "NeverVerifyAllowlistedImages"
  | "AlwaysVerify";

/** A pull secret, as the record names it. */
interface SecretMark {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly credentialHash: string;
}

/** A service account or a Secret, by what does not change while it is the same one. */
export interface SourceMark {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

/** Credentials, and the Secret or service account they are from; without one they are the node's, for all its Pods. */
export interface SourcedAuth {
  readonly auth: ImageAuth;
  readonly secret?: SourceMark;
  readonly account?: SourceMark;
}

/** What is known of an image that this agent pulled, in the kubelet's form. @see KEP-2535 */
export interface PulledRecord {
  readonly lastUpdatedTime: string;
  readonly imageRef: string;
  /** By repository, without tag and digest. */
  readonly credentialMapping: Readonly<
    Record<
      string,
      {
        readonly kubernetesSecrets?: readonly SecretMark[];
        readonly kubernetesServiceAccounts?: readonly SourceMark[];
        readonly nodePodsAccessible?: boolean;
      }
    >
  >;
}

/** What the question stands on. */
export interface PullKnowledge {
  readonly policy: VerificationPolicy;
  /** Repositories, or what they begin with and `/*`. */
  readonly allowlist: readonly string[];
  readonly record: PulledRecord | undefined;
  /** A pull of this name was begun, and what became of it was not written down. */
  readonly isIntended: boolean;
}

const maxRepositories = 100;
const maxSecrets = 100;
const maxAccounts = 100;

/** The repository of an image with its registry: `docker.io/library/web` of `web:1`. */
export function repositoryOf(image: string): string {
  const bare = (image.split("@")[0] ?? "").replace(/:[^/:]*$/, "");
  const registry = registryOf(image);
  if (bare.startsWith(`${registry}/`)) return bare;
  return bare.includes("/") ? `${registry}/${bare}` : `${registry}/library/${bare}`;
}

/** Whether a Pod may use an image that is present only after showing credentials for it. */
export function needsCredentials(image: string, known: PullKnowledge): boolean {
  const { policy, allowlist, record, isIntended } = known;
  if (policy === "NeverVerify") return false;
  const repository = repositoryOf(image);
  if (record === undefined && !isIntended) {
    if (policy === "NeverVerifyPreloadedImages") return false;
    if (policy === "NeverVerifyAllowlistedImages") return !isAllowed(repository, allowlist);
  }
  return record?.credentialMapping[repository]?.nodePodsAccessible !== true;
}

/** Whether one of these was let in before: the same Secret with the same content, or the content under another name. */
export function wasLetIn(
  image: string,
  record: PulledRecord | undefined,
  credentials: readonly SourcedAuth[],
): boolean {
  const known = record?.credentialMapping[repositoryOf(image)]?.kubernetesSecrets ?? [];
  return credentials.some(({ auth }) => known.some(({ credentialHash }) => credentialHash === hashOf(auth)));
}

/** Whether the image came with what was given for this service account (KEP-4412). */
export function isOfAccount(image: string, record: PulledRecord | undefined, account: SourceMark): boolean {
  const known = record?.credentialMapping[repositoryOf(image)]?.kubernetesServiceAccounts ?? [];
  return known.some((one) => isSame(one, account));
}

/** Whether any service account's credentials brought the image: only then does an account matter. */
export function hasAccounts(image: string, record: PulledRecord | undefined): boolean {
  const known = record?.credentialMapping[repositoryOf(image)]?.kubernetesServiceAccounts ?? [];
  return known.length > 0;
}

/** The record after a pull with these credentials; without any, everybody may use what came. */
export function afterPull(
  before: PulledRecord | undefined,
  image: string,
  imageRef: string,
  used: SourcedAuth | undefined,
  now: Date,
): PulledRecord {
  const repository = repositoryOf(image);
  const { [repository]: known, ...others } = before?.credentialMapping ?? {};
  const isForAll =
    known?.nodePodsAccessible === true || (used?.secret === undefined && used?.account === undefined);
  const mapping = isForAll ? { nodePodsAccessible: true } : withSource(known ?? {}, used);
  return {
    lastUpdatedTime: now.toISOString(),
    imageRef,
    credentialMapping: Object.fromEntries([
      ...Object.entries(others).slice(-(maxRepositories - 1)),
      [repository, mapping],
    ]),
  };
}

/** @throws Error that says what is not as it should be. */
export function readRecord(text: string): PulledRecord {
  const value: unknown = JSON.parse(text);
  if (!isRecord(value) || value["kind"] !== "ImagePulledRecord")
    throw new Error("it is no ImagePulledRecord");
  const { imageRef, lastUpdatedTime, credentialMapping } = value;
  if (typeof imageRef !== "string" || typeof lastUpdatedTime !== "string")
    throw new Error("imageRef and lastUpdatedTime must be texts");
  const mapping = Object.entries(isRecord(credentialMapping) ? credentialMapping : {}).map(
    ([repository, one]) => {
      const {
        nodePodsAccessible,
        kubernetesSecrets,
        kubernetesServiceAccounts,
      }: Readonly<Record<string, unknown>> = isRecord(one) ? one : {};
      if (nodePodsAccessible === true) return [repository, { nodePodsAccessible }] as const;
      const accounts = accountsOf(kubernetesServiceAccounts);
      return [
        repository,
        {
          kubernetesSecrets: marksOf(kubernetesSecrets),
          ...(accounts.length === 0 ? {} : { kubernetesServiceAccounts: accounts }),
        },
      ] as const;
    },
  );
  return { imageRef, lastUpdatedTime, credentialMapping: Object.fromEntries(mapping) };
}

/** The file's text. */
export function recordText(record: PulledRecord): string {
  const head = { kind: "ImagePulledRecord", apiVersion: "kubelet.config.k8s.io/v1beta1" };
  return `${JSON.stringify({ ...head, ...record })}\n`;
}

function withSource(
  known: PulledRecord["credentialMapping"][string],
  { auth, secret, account }: SourcedAuth,
): PulledRecord["credentialMapping"][string] {
  const { kubernetesSecrets = [], kubernetesServiceAccounts = [] } = known;
  if (secret !== undefined)
    return { ...known, kubernetesSecrets: withSecret(kubernetesSecrets, secret, auth) };
  if (account === undefined) return known;
  const others = kubernetesServiceAccounts.filter((one) => !isSame(one, account));
  return { ...known, kubernetesServiceAccounts: [...others.slice(-(maxAccounts - 1)), account] };
}

function isSame(a: SourceMark, b: SourceMark): boolean {
  return a.uid === b.uid && a.namespace === b.namespace && a.name === b.name;
}

function accountsOf(value: unknown): readonly SourceMark[] {
  return (Array.isArray(value) ? value : []).flatMap((one: unknown) => {
    if (!isRecord(one)) return [];
    const { uid, namespace, name } = one;
    return typeof uid === "string" && typeof namespace === "string" && typeof name === "string"
      ? [{ uid, namespace, name }]
      : [];
  });
}

function withSecret(
  known: readonly SecretMark[],
  secret: SourceMark,
  auth: ImageAuth,
): readonly SecretMark[] {
  const others = known.filter((one) => !isSame(one, secret));
  return [...others.slice(-(maxSecrets - 1)), { ...secret, credentialHash: hashOf(auth) }];
}

function marksOf(value: unknown): readonly SecretMark[] {
  return (Array.isArray(value) ? value : []).flatMap((one: unknown) => {
    if (!isRecord(one)) return [];
    const { uid, namespace, name, credentialHash } = one;
    return typeof uid === "string" &&
      typeof namespace === "string" &&
      typeof name === "string" &&
      typeof credentialHash === "string"
      ? [{ uid, namespace, name, credentialHash }]
      : [];
  });
}

function hashOf({ username, password, auth, identityToken, registryToken }: ImageAuth): string {
  const parts = [username, password, auth, identityToken, registryToken].map((part) => part ?? "");
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}

function isAllowed(repository: string, allowlist: readonly string[]): boolean {
  return allowlist.some((entry) =>
    entry.endsWith("/*") ? repository.startsWith(entry.slice(0, -1)) : repository === repositoryOf(entry),
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
