import { readFileSync } from "node:fs";
import { type BuiltImage, buildImage, dockerArchive } from "../../agent/runtime/image-tar.ts";

const applets =
  "sh sleep cat echo nc ls wget httpd env id hostname ip ping true false nslookup mkdir touch rm head tail grep ps kill yes dd md5sum stat date vi seq".split(
    " ",
  );

/**
 * An image of the machine's static busybox with the applets that tests use; no registry, no download.
 * @param more whose process it is, and lines of its lists of users and groups besides root's.
 */
export function busyboxImage(
  more: { readonly user?: string; readonly users?: string; readonly groups?: string } = {},
): BuiltImage {
  const { user = "", users = "", groups = "" } = more;
  const busybox = readFileSync("/bin/busybox");
  const empty = new Uint8Array();
  return buildImage(
    [
      ...["bin/", "etc/", "tmp/", "var/", "root/", "usr/", "usr/bin/"].map((path) => ({
        path,
        content: empty,
        mode: path === "tmp/" ? 0o1777 : 0o755,
      })),
      { path: "bin/busybox", content: busybox, mode: 0o755 },
      ...applets.map((name) => ({ path: `bin/${name}`, content: empty, mode: 0o777, linkTo: "busybox" })),
      { path: "etc/passwd", content: Buffer.from(`root:x:0:0:root:/root:/bin/sh\n${users}`), mode: 0o644 },
      { path: "etc/group", content: Buffer.from(`root:x:0:\n${groups}`), mode: 0o644 },
    ],
    { entrypoint: ["/bin/sh"], env: ["PATH=/bin:/usr/bin"], user },
    process.arch === "arm64" ? "arm64" : "amd64",
  );
}

/** {@link busyboxImage} as a file for `docker load` and `ctr images import`, under the given name. */
export function busyboxArchive(reference: string): Buffer {
  return dockerArchive(busyboxImage(), reference);
}
