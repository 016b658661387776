import t from "tap";
import { swapFault } from "./swap.ts";

t.test("a machine that swaps is refused unless that is allowed", async (t) => {
  t.match(
    swapFault(true, 2 * 1024 ** 3),
    /swaps \(2048 MiB\); run "swapoff -a", or give --fail-swap-on=false/,
  );
  t.equal(swapFault(false, 2 * 1024 ** 3), undefined);
  t.equal(swapFault(true, 0), undefined);
});
