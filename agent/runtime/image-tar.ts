import { createHash } from "node:crypto";

/** A file of an image's only layer. */
export interface ImageFile {
  /** Without a leading slash. A path that ends in a slash is a directory. */
  readonly path: string;
  readonly content: Uint8Array;
  readonly mode: number;
  /** A symbolic link to this instead. */
  readonly linkTo?: string;
}

/** What an image's process is. */
export interface ImageProcess {
  readonly entrypoint: readonly string[];
  readonly env?: readonly string[];
  readonly user?: string;
}

/** An OCI image of one layer, its blobs in memory. The same input gives the same bytes. */
export interface BuiltImage {
  readonly layer: Buffer;
  readonly config: Buffer;
  readonly manifest: Buffer;
  readonly layerDigest: string;
  readonly configDigest: string;
  readonly manifestDigest: string;
}

/** @param architecture as OCI spells it: `amd64`, `arm64`. */
export function buildImage(
  files: readonly ImageFile[],
  process: ImageProcess,
  architecture: string,
): BuiltImage {
  const layer = tar(files);
  const layerDigest = digestOf(layer);
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: "linux",
      created: "1970-01-01T00:00:00Z",
      config: { Entrypoint: process.entrypoint, Env: process.env ?? [], User: process.user ?? "" },
      rootfs: { type: "layers", diff_ids: [layerDigest] },
      history: [{ created: "1970-01-01T00:00:00Z", created_by: "keelson" }],
    }),
  );
  const configDigest = digestOf(config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestMediaType,
      config: {
        mediaType: "application/vnd.oci.image.config.v1+json",
        digest: configDigest,
        size: config.length,
      },
      layers: [
        { mediaType: "application/vnd.oci.image.layer.v1.tar", digest: layerDigest, size: layer.length },
      ],
    }),
  );
  return { layer, config, manifest, layerDigest, configDigest, manifestDigest: digestOf(manifest) };
}

/** Media type of {@link BuiltImage.manifest}. */
export const manifestMediaType = "application/vnd.oci.image.manifest.v1+json";

/** The image as `docker load` reads it, under the given name. */
export function dockerArchive(image: BuiltImage, reference: string): Buffer {
  const hex = (digest: string): string => digest.replace("sha256:", "");
  const manifest = [
    {
      Config: `${hex(image.configDigest)}.json`,
      RepoTags: [reference],
      Layers: [`${hex(image.layerDigest)}/layer.tar`],
    },
  ];
  return tar([
    { path: `${hex(image.configDigest)}.json`, content: image.config, mode: 0o644 },
    { path: `${hex(image.layerDigest)}/`, content: new Uint8Array(), mode: 0o755 },
    { path: `${hex(image.layerDigest)}/layer.tar`, content: image.layer, mode: 0o644 },
    { path: "manifest.json", content: Buffer.from(JSON.stringify(manifest)), mode: 0o644 },
  ]);
}

/** A POSIX ustar archive, owned by root, dated 1970. Paths are 100 bytes at most. */
export function tar(files: readonly ImageFile[]): Buffer {
  const parts = files.flatMap((file) => {
    if (Buffer.byteLength(file.path) > 100)
      throw new Error(`cannot archive "${file.path}": the path is too long`);
    const content = file.linkTo === undefined ? Buffer.from(file.content) : Buffer.alloc(0);
    return [tarHeader(file, content.length), content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, Buffer.alloc(1_024)]);
}

function tarHeader(file: ImageFile, size: number): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, offset: number, length: number): void => {
    header.write(value.toString(8).padStart(length - 1, "0"), offset, "latin1");
  };
  header.write(file.path, 0, "utf8");
  octal(file.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(0, 136, 12);
  header.write(file.linkTo !== undefined ? "2" : file.path.endsWith("/") ? "5" : "0", 156);
  header.write(file.linkTo ?? "", 157, "utf8");
  header.write("ustar\u000000", 257, "latin1");
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
