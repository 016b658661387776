import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { HugePages } from "../plan/huge-pages.ts";

/** The sizes of huge pages that this kernel has, smallest first, and how many of each are set aside. */
export async function readHugePages(
  root: string = "/sys/kernel/mm/hugepages",
): Promise<readonly HugePages[]> {
  const found: HugePages[] = [];
  for (const name of await readdir(root).catch(() => [])) {
    const kib = /^hugepages-(\d+)kB$/.exec(name)?.[1];
    if (kib === undefined) continue;
    const pages = await readFile(path.join(root, name, "nr_hugepages"), "utf8").catch(() => "0");
    found.push({ pageBytes: Number(kib) * 1_024, pages: Number(pages) });
  }
  return found.toSorted((a, b) => a.pageBytes - b.pageBytes);
}
