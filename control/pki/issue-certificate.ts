import type { webcrypto } from "node:crypto";
import { isIP } from "node:net";

/** A certificate and its private key, both PEM (the key PKCS #8). */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** What a leaf certificate says. */
export interface CertificateRequest {
  /** The user name, for client certificates. */
  readonly cn: string;
  /** The groups, for client certificates. */
  readonly orgs: readonly string[];
  /** DNS names and IP addresses, told apart by their form. */
  readonly sans: readonly string[];
  readonly usages: readonly ("client" | "server")[];
  /** How long it is good for, in days. */
  readonly days: number;
}

const dayMs = 86_400_000;
/** Clocks of nodes differ: a certificate is already good this long before it is made, in milliseconds. */
const backdateMs = 300_000;
const signing = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const usageIds = { server: "1.3.6.1.5.5.7.3.1", client: "1.3.6.1.5.5.7.3.2" } as const;

/**
 * Makes a key (ECDSA P-256) and a certificate for it, signed by `authority`.
 * @param nowMs milliseconds since the epoch; the certificate is good from five minutes before.
 */
export async function issueCertificate(
  request: CertificateRequest,
  authority: KeyPair,
  nowMs: number,
  signal: AbortSignal,
): Promise<KeyPair> {
  signal.throwIfAborted();
  const x509 = await library();
  const keys = await generateKeys();
  const issuer = new x509.X509Certificate(authority.certificate);
  const sans = request.sans.map((value) =>
    isIP(value) === 0 ? ({ type: "dns", value } as const) : ({ type: "ip", value } as const),
  );
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [...request.orgs.map((org) => ({ O: [org] })), { CN: [request.cn] }],
    issuer: issuer.subjectName.toJSON(),
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(Math.min(nowMs + request.days * dayMs, issuer.notAfter.getTime())),
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(request.usages.map((usage) => usageIds[usage])),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(sans.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(sans)]),
    ],
  });
  return { certificate: `${certificate.toString("pem")}\n`, key: await exportKey(keys.privateKey) };
}

/** Makes a certificate authority: a key and a certificate that signs itself. */
export async function issueAuthority(
  cn: string,
  days: number,
  nowMs: number,
  signal: AbortSignal,
): Promise<KeyPair> {
  signal.throwIfAborted();
  const x509 = await library();
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [cn] }],
    notBefore: new Date(nowMs - backdateMs),
    notAfter: new Date(nowMs + days * dayMs),
    keys,
    signingAlgorithm: signing,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString("pem")}\n`, key: await exportKey(keys.privateKey) };
}

/** Loaded only when a certificate is made: it costs a start that makes none about 100 ms and 23 MB. */
async function library(): Promise<typeof import("@peculiar/x509")> {
  await import("reflect-metadata");
  return await import("@peculiar/x509");
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await crypto.subtle.generateKey(signing, true, ["sign", "verify"]);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const bytes = Buffer.from(await crypto.subtle.exportKey("pkcs8", key)).toString("base64");
  const lines = bytes.match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const bytes = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  return await crypto.subtle.importKey("pkcs8", bytes, signing, false, ["sign"]);
}

/** 16 random bytes with the top bit clear, so that DER sees a positive number (RFC 5280 §4.1.2.2). */
function serialNumber(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}
