import { readFile } from "node:fs/promises";
import path from "node:path";
import { parseKubeconfig } from "#api/kubeconfig.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { stringify } from "yaml";
import { type CertificateRequest, issueCertificate, type KeyPair } from "./issue-certificate.ts";
import { isGood, leafDays } from "./pki.ts";
import { readCertificate } from "./renewal.ts";
import { writeFileAtomically } from "#lib/write-file.ts";

/** Where kubeconfigs go and for whom. */
export interface KubeconfigOptions {
  /** `/etc/keelson`. */
  readonly folder: string;
  /** `https://127.0.0.1:6443`. */
  readonly server: string;
  /**
   * Nodes to write a kubeconfig for: the first is `node.kubeconfig`, each further one `node-<name>.kubeconfig`.
   */
  readonly nodeNames: readonly string[];
}

/** One kubeconfig: its file name and the user it proves. */
export interface KubeconfigUser {
  readonly file: string;
  readonly cn: string;
  readonly orgs: readonly string[];
}

/** The kubeconfigs of a cluster. */
export function kubeconfigUsers(nodeNames: readonly string[]): readonly KubeconfigUser[] {
  return [
    { file: "admin.kubeconfig", cn: "kubernetes-admin", orgs: ["system:masters"] },
    ...nodeNames.map((name, place) => ({
      file: place === 0 ? "node.kubeconfig" : `node-${name}.kubeconfig`,
      cn: `system:node:${name}`,
      orgs: ["system:nodes"],
    })),
    { file: "proxy.kubeconfig", cn: "system:kube-proxy", orgs: [] },
  ];
}

/**
 * Writes the kubeconfigs of the administrator, the nodes and the proxy (mode 0600, certificates inline),
 * keeping those that still fit: same server, same user, same authority, certificate not due.
 * @returns the files that were written.
 */
export async function writeKubeconfigs(
  options: KubeconfigOptions,
  ca: KeyPair,
  nowMs: number,
  signal: AbortSignal,
): Promise<readonly string[]> {
  await makeFolder(options.folder, 0o755);
  const written: string[] = [];
  for (const user of kubeconfigUsers(options.nodeNames)) {
    const file = path.join(options.folder, user.file);
    if (await fits(file, user, options.server, ca, nowMs)) continue;
    const request: CertificateRequest = { ...user, sans: [], usages: ["client"], days: leafDays };
    const pair = await issueCertificate(request, ca, nowMs, signal);
    const text = renderKubeconfig({ server: options.server, ca: ca.certificate, user: user.cn, pair });
    await writeFileAtomically(file, text, 0o600);
    written.push(file);
  }
  return written;
}

/** A kubeconfig with one cluster, one user and one context. */
export function renderKubeconfig(of: {
  readonly server: string;
  readonly ca: string;
  readonly user: string;
  readonly pair: KeyPair;
}): string {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  return stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        { name: "keelson", cluster: { server: of.server, "certificate-authority-data": base64(of.ca) } },
      ],
      users: [
        {
          name: of.user,
          user: {
            "client-certificate-data": base64(of.pair.certificate),
            "client-key-data": base64(of.pair.key),
          },
        },
      ],
      contexts: [{ name: "keelson", context: { cluster: "keelson", user: of.user } }],
      "current-context": "keelson",
    },
    { lineWidth: 0 },
  );
}

async function fits(
  file: string,
  user: KubeconfigUser,
  server: string,
  ca: KeyPair,
  nowMs: number,
): Promise<boolean> {
  try {
    const kept = parseKubeconfig(await readFile(file, "utf8"), path.dirname(file), () => "");
    if (kept.server !== server || kept.ca !== ca.certificate || kept.clientCertificate === undefined)
      return false;
    const { x509 } = readCertificate(kept.clientCertificate);
    return (
      x509.subject.split("\n").includes(`CN=${user.cn}`) &&
      isGood(kept.clientCertificate, [], ca.certificate, nowMs)
    );
  } catch {
    return false; // missing or damaged: a new one replaces it
  }
}
