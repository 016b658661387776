import { X509Certificate } from "node:crypto";

/** The part of its life that a certificate must have left to be kept. */
const leftToKeep = 0.3;

/** What is read of a certificate to decide whether it stays. */
export interface CertificateFacts {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Subject alternative names, DNS names and addresses, as they were asked for. */
  readonly sans: readonly string[];
}

/** True when less than 30 % of the certificate's life is left, or it has not begun. */
export function isDue(facts: CertificateFacts, nowMs: number): boolean {
  const life = facts.notAfterMs - facts.notBeforeMs;
  return nowMs < facts.notBeforeMs || facts.notAfterMs - nowMs < life * leftToKeep;
}

/**
 * Reads a PEM certificate.
 * @throws Error when it is not one.
 */
export function readCertificate(pem: string): CertificateFacts & { readonly x509: X509Certificate } {
  const x509 = new X509Certificate(pem);
  const sans = (x509.subjectAltName ?? "")
    .split(", ")
    .filter((entry) => entry !== "")
    .map((entry) => normalAddress(entry.replace(/^(DNS|IP Address):/, "")));
  return { notBeforeMs: Date.parse(x509.validFrom), notAfterMs: Date.parse(x509.validTo), sans, x509 };
}

/** OpenSSL prints `::1` as `0:0:0:0:0:0:0:1`; both become what `URL` makes of them. */
export function normalAddress(name: string): string {
  return name.includes(":") ? new URL(`http://[${name}]`).hostname.slice(1, -1) : name;
}
