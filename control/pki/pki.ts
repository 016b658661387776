import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import path from "node:path";
import { makeFolder } from "#lib/make-folder.ts";
import { readIfThere } from "#lib/read-if-there.ts";
import {
  type CertificateRequest,
  issueAuthority,
  issueCertificate,
  type KeyPair,
} from "./issue-certificate.ts";
import { isDue, normalAddress, readCertificate } from "./renewal.ts";
import { writeFileAtomically } from "#lib/write-file.ts";

/** How long certificates are good for, in days. */
export const authorityDays = 3_650;
export const leafDays = 365;

/** Everything the cluster's trust stands on. PEM texts. */
export interface Pki {
  readonly ca: KeyPair;
  /** What port 6443, 10257 and 10259 show. */
  readonly apiserver: KeyPair;
  /** What the API server shows to nodes: CN kube-apiserver-kubelet-client, O system:masters. */
  readonly kubeletClient: KeyPair;
  /** The key that signs ServiceAccount tokens (ES256). */
  readonly serviceAccount: { readonly privateKey: string; readonly publicKey: string };
}

/** What the API server's certificate must be good for. */
export interface PkiOptions {
  /** `<data>/pki`. */
  readonly folder: string;
  readonly clusterDomain: string;
  /** The first address of the service range, and the addresses and names of this machine. */
  readonly names: readonly string[];
}

/**
 * Reads the PKI, making what is missing and renewing leaf certificates that have less than 30 % of their life
 * left, lack a name, or were signed by another authority. Keys are written with mode 0600.
 * @throws Error that names the file that cannot be read, parsed or written.
 */
export async function ensurePki(options: PkiOptions, nowMs: number, signal: AbortSignal): Promise<Pki> {
  await makeFolder(options.folder, 0o700);
  const ca = await ensureAuthority(options.folder, nowMs, signal);
  const leaf = (name: string, request: CertificateRequest): Promise<KeyPair> =>
    ensureLeaf(path.join(options.folder, name), request, ca, nowMs, signal);
  return {
    ca,
    apiserver: await leaf("apiserver", {
      cn: "kube-apiserver",
      orgs: [],
      sans: serverNames(options),
      usages: ["server"],
      days: leafDays,
    }),
    kubeletClient: await leaf("apiserver-kubelet-client", {
      cn: "kube-apiserver-kubelet-client",
      orgs: ["system:masters"],
      sans: [],
      usages: ["client"],
      days: leafDays,
    }),
    serviceAccount: await ensureSigningKey(options.folder),
  };
}

/** The names upstream's certificates have, and those of this machine; each once. */
export function serverNames(options: Pick<PkiOptions, "clusterDomain" | "names">): readonly string[] {
  const inCluster = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"];
  const all = [
    ...inCluster,
    `kubernetes.default.svc.${options.clusterDomain}`,
    "localhost",
    "127.0.0.1",
    "::1",
    ...options.names.map(normalAddress),
  ];
  return [...new Set(all)];
}

/** True when the kept certificate still does what is asked of it. */
export function isGood(certificate: string, sans: readonly string[], ca: string, nowMs: number): boolean {
  const facts = readCertificate(certificate);
  const authority = readCertificate(ca);
  return (
    !isDue(facts, nowMs) &&
    sans.every((name) => facts.sans.includes(name)) &&
    facts.x509.verify(authority.x509.publicKey)
  );
}

async function ensureAuthority(folder: string, nowMs: number, signal: AbortSignal): Promise<KeyPair> {
  const kept = await readPair(path.join(folder, "ca"));
  // An authority is never replaced by itself: every kubeconfig and token out there trusts this one.
  if (kept !== undefined) return kept;
  const made = await issueAuthority("kubernetes", authorityDays, nowMs, signal);
  await writePair(path.join(folder, "ca"), made);
  return made;
}

async function ensureLeaf(
  base: string,
  request: CertificateRequest,
  ca: KeyPair,
  nowMs: number,
  signal: AbortSignal,
): Promise<KeyPair> {
  const kept = await readPair(base);
  if (kept !== undefined && isGood(kept.certificate, request.sans, ca.certificate, nowMs)) return kept;
  const made = await issueCertificate(request, ca, nowMs, signal);
  await writePair(base, made);
  return made;
}

async function ensureSigningKey(folder: string): Promise<Pki["serviceAccount"]> {
  const file = path.join(folder, "sa.key");
  let privateKey = await readIfThere(file);
  if (privateKey === undefined) {
    privateKey = generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    }).privateKey;
    await writeFileAtomically(file, privateKey, 0o600);
  }
  const publicKey = parsed(file, () =>
    createPublicKey(createPrivateKey(privateKey)).export({ type: "spki", format: "pem" }).toString(),
  );
  const publicFile = path.join(folder, "sa.pub");
  if ((await readIfThere(publicFile)) !== publicKey) {
    await writeFileAtomically(publicFile, publicKey, 0o644);
  }
  return { privateKey, publicKey };
}

/** Both files, or undefined when either is missing: they are made together. */
async function readPair(base: string): Promise<KeyPair | undefined> {
  const certificate = await readIfThere(`${base}.crt`);
  const key = await readIfThere(`${base}.key`);
  if (certificate === undefined || key === undefined) return undefined;
  parsed(`${base}.key`, () => createPrivateKey(key));
  const { x509 } = parsed(`${base}.crt`, () => readCertificate(certificate));
  if (!x509.checkPrivateKey(createPrivateKey(key))) {
    throw new Error(
      `cannot use "${base}.crt": it is not for the key "${base}.key"; remove both to get new ones`,
    );
  }
  return { certificate, key };
}

async function writePair(base: string, pair: KeyPair): Promise<void> {
  await writeFileAtomically(`${base}.key`, pair.key, 0o600);
  await writeFileAtomically(`${base}.crt`, pair.certificate, 0o644);
}

function parsed<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new Error(`cannot use "${file}": it is damaged; restore it, or remove it to get a new one`, {
      cause,
    });
  }
}
