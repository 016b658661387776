import { createPrivateKey, webcrypto } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import path from "node:path";

/** A certificate and its key, in PEM. */
export interface ServingCertificate {
  readonly cert: string;
  readonly key: string;
}

const yearMs = 365 * 86_400_000;

/** Reads the certificate given by flags, else the one in `<rootDir>/pki`, else makes one there that signs itself. */
export async function servingCertificate(
  files: { readonly cert: string; readonly key: string },
  rootDir: string,
  nodeName: string,
): Promise<ServingCertificate> {
  if (files.cert !== "" && files.key !== "") return await readPair(files.cert, files.key);
  const directory = path.join(rootDir, "pki");
  const certFile = path.join(directory, "kubelet.crt");
  const keyFile = path.join(directory, "kubelet.key");
  try {
    return await readPair(certFile, keyFile);
  } catch {
    const made = await selfSignedCertificate(nodeName, "serverAuth");
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await writeFile(keyFile, made.key, { mode: 0o600 });
    await writeFile(certFile, made.cert, { mode: 0o644 });
    return made;
  }
}

async function readPair(certFile: string, keyFile: string): Promise<ServingCertificate> {
  const [cert, key] = await Promise.all([readFile(certFile, "utf8"), readFile(keyFile, "utf8")]);
  return { cert, key };
}

/** A certificate for a year that signs itself, for this machine's addresses. @param name its common name. */
export async function selfSignedCertificate(
  name: string,
  usage: "serverAuth" | "clientAuth",
): Promise<ServingCertificate> {
  // Loaded when a certificate is made: the libraries are large and most starts need none.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const addresses = Object.values(networkInterfaces())
    .flatMap((addressesOfOne) => addressesOfOne ?? [])
    .filter(({ address }) => !address.startsWith("fe80:"))
    .map(({ address }) => address);
  const now = Date.now();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${name}`,
      notBefore: new Date(now - 3_600_000),
      notAfter: new Date(now + yearMs),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: "dns", value: name },
          ...[...new Set(["127.0.0.1", ...addresses])].map((value) => ({ type: "ip" as const, value })),
        ]),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[usage]]),
      ],
    },
    webcrypto,
  );
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
  return { cert: certificate.toString("pem"), key: key.export({ format: "pem", type: "pkcs8" }).toString() };
}
