import { mkdir, open, readFile } from "node:fs/promises";
import path from "node:path";
import { readIfThere } from "#lib/read-if-there.ts";
import { isFileSystemRoot, mountReadOnlyOverlay } from "#linux/mount.ts";
import { RuntimeError } from "../runtime.ts";

/** A page, which is what mount(2) takes of options, less what is not layers. */
const maxOptionsBytes = 4_000;

/**
 * Shows an image that Docker keeps with its driver overlay2 in a directory: its layers over each other, to be read
 * only, without programs that run. What is mounted there already stays.
 * @param topLayer the directory of its topmost layer, `<root>/overlay2/<id>/diff`.
 * @throws {RuntimeError} `unsupported` when the layers are not where Docker says, or are too many for one mount.
 */
export async function mountImageContent(image: string, topLayer: string, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o750 });
  if (await isFileSystemRoot(directory)) return;
  const own = path.dirname(topLayer);
  const names = await layerNames(own).catch((cause: unknown) => {
    const why = `its layers are not at "${own}"; run the agent where Docker's directory is`;
    throw new RuntimeError("unsupported", `cannot mount image "${image}": ${why}`, { cause });
  });
  // Docker keeps a short link to each layer, and by an open directory the way there is short too.
  await using links = await open(path.join(path.dirname(own), "l"));
  // An overlay without a layer to be written wants two: the empty directory is below an image of one.
  const layers = [...names.map((name) => `/proc/self/fd/${links.fd}/${name}`), directory];
  if (layers.join(":").length > maxOptionsBytes)
    throw new RuntimeError(
      "unsupported",
      `cannot mount image "${image}": ${names.length} layers are too many for one mount; build it with fewer`,
    );
  mountReadOnlyOverlay(layers, directory);
}

/** From the topmost down. */
async function layerNames(layer: string): Promise<readonly string[]> {
  const link = await readFile(path.join(layer, "link"), "utf8");
  const lower = (await readIfThere(path.join(layer, "lower"))) ?? "";
  const below = lower.split(":").filter((part) => part !== "");
  return [link.trim(), ...below.map((part) => path.basename(part.trim()))];
}
